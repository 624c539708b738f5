# Both targets need Python >= 3.10 and nothing else; each makes .venv once.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test lint format clean

demo: $(VENV)/demo
	$(BIN)/python tools/demo.py

test: $(VENV)/dev
	$(BIN)/python -m pytest

lint: $(VENV)/dev
	$(BIN)/flake8 mmanchor configs tools tests
	$(BIN)/isort --check-only --diff mmanchor configs tools tests
	$(BIN)/yapf --diff --recursive mmanchor configs tools tests

format: $(VENV)/dev
	$(BIN)/isort mmanchor configs tools tests
	$(BIN)/yapf --in-place --recursive mmanchor configs tools tests

clean:
	rm -rf $(VENV) build dist *.egg-info

# Stamp files: an extra is installed again when what it depends on changes.
$(VENV)/demo $(VENV)/dev: setup.cfg pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --progress-bar on \
	    -c constraints.txt -e '.[host,$(notdir $@)]'
	touch $@

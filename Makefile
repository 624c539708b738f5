# Targets need Python >= 3.10 and nothing else; each makes its environment once.
PYTHON ?= python3
VENV := .venv
UPSTREAM := .venv-upstream
# of `make test-python`: 3.12 or 3.13, the first that is there
PYTHON312 ?= $(shell for one in python3.13 python3.12 \
    $$HOME/.pyenv/versions/3.1[23].*/bin/python; do \
    "$$one" -c '' 2> /dev/null && echo "$$one" && break; done)
VENV312 := .venv-python312
SMOKE := tests/test_host.py tests/test_cli.py tests/functional/test_masking.py \
    tests/functional/test_folding.py tests/export/test_fold.py \
    tests/checkpoints/test_run_checkpoints.py
BIN := $(VENV)/bin
LINTED := mmanchor mmanchor_cli.py configs tools tests docs/site
# tests share two cores, and some wait: one thread each, a process more
WORKERS ?= 3
PYTEST = OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses $(WORKERS)
FAST = $(PYTEST) -m 'not matrix and not cluster and not faults'

.PHONY: demo test test-fast test-faults test-upstream test-cluster \
    test-python docs lint format clean

demo: $(VENV)/demo
	$(BIN)/python tools/demo.py

test: $(VENV)/dev
	$(PYTEST)

# without the 58 backbones
test-fast: $(VENV)/dev
	$(FAST)

# a run is killed twenty times: some minutes
test-faults: $(VENV)/dev
	$(PYTEST) -m faults tests/system/faults

# on upstream MMPretrain 1.2.0 rather than the maintained fork, whose backbones
# are the same
test-upstream: BIN := $(UPSTREAM)/bin
test-upstream: $(UPSTREAM)/dev
	$(FAST)

# on a Slurm of its own: needs root, and Debian's slurm-wlm and munge, which
# are installed where they are missing
test-cluster: $(VENV)/dev
	.ci/slurm $(abspath $(BIN))/python -m pytest -m cluster tests/system/cluster

# a small selection, on another Python than that of the other targets
test-python:
ifeq ($(WITHOUT_PYTHON312),1)
	@echo 'No second Python is tested, as WITHOUT_PYTHON312=1 asks for.'
else
	@test -n "$(PYTHON312)" && "$(PYTHON312)" -c 'import sys; \
	    sys.exit(sys.version_info < (3, 12))' || { \
	    echo "Expected Python 3.12 or newer for 'make test-python', but got" \
	    "'$(PYTHON312)'. Name one with PYTHON312=, or leave the test out" \
	    "with WITHOUT_PYTHON312=1." >&2; exit 1; }
	$(MAKE) $(VENV312)/smoke PYTHON312="$(PYTHON312)"
	OMP_NUM_THREADS=1 $(VENV312)/bin/python -m pytest $(SMOKE)
endif

# uv takes seconds where pip takes minutes
$(VENV312)/smoke: setup.cfg pyproject.toml constraints.txt
	if command -v uv > /dev/null; then \
	    uv venv --quiet --clear --python "$(PYTHON312)" $(@D) && \
	    uv pip install --quiet --python $(@D)/bin/python \
	        -c constraints.txt -e '.[host,demo]' pytest; \
	else \
	    "$(PYTHON312)" -m venv $(@D) && \
	    $(@D)/bin/python -m pip install --quiet -c constraints.txt \
	        -e '.[host,demo]' pytest; \
	fi
	touch $@

# a site of docs/, in build/site; the variable silences a word on MkDocs 2
docs: $(VENV)/docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

# the order of packages is in .importlinter
lint: $(VENV)/dev
	$(BIN)/lint-imports
	$(BIN)/ruff check $(LINTED)
	$(BIN)/ruff format --diff $(LINTED)
	$(BIN)/codespell mmanchor configs tools docs README.md CHANGELOG.md

format: $(VENV)/dev
	$(BIN)/ruff check --fix $(LINTED)
	$(BIN)/ruff format $(LINTED)

clean:
	rm -rf $(VENV) $(UPSTREAM) $(VENV312) build dist *.egg-info

# Stamp files: an extra is installed again when what it depends on changes.
$(VENV)/demo: EXTRAS := host,demo
$(VENV)/dev: EXTRAS := host,mim,dev
$(UPSTREAM)/dev: EXTRAS := upstream,upstream-mim,dev
$(VENV)/docs: EXTRAS := docs

$(VENV)/demo $(VENV)/dev $(UPSTREAM)/dev $(VENV)/docs: setup.cfg \
    pyproject.toml constraints.txt
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip install --quiet --progress-bar on \
	    -c constraints.txt -e '.[$(EXTRAS)]'
	touch $@

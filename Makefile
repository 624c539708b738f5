# Targets need Python >= 3.10 and nothing else; each makes its environment once.
PYTHON ?= python3
VENV := .venv
UPSTREAM := .venv-upstream
BIN := $(VENV)/bin
LINTED := mmanchor configs tools tests docs/site
# tests share two cores, and some wait: one thread each, a process more
WORKERS ?= 3
PYTEST = OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses $(WORKERS)
FAST = $(PYTEST) -m 'not matrix and not cluster and not faults and not gpu'

.PHONY: demo test test-fast test-faults test-upstream test-cluster docs lint \
    format clean

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
	rm -rf $(VENV) $(UPSTREAM) build dist *.egg-info

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

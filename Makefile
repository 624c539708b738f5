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
    tests/checkpoints/test_safe_loading.py
BIN := $(VENV)/bin
LINTED := mmanchor mmanchor_cli.py configs tools tests docs/site
# tests share two cores, and some wait: one thread each, a process more
WORKERS ?= 3
PYTEST = OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses $(WORKERS)

.PHONY: demo test test-slow test-faults test-upstream test-cluster \
    test-browser test-python docs lint format lock clean

demo: $(VENV)/demo
	$(BIN)/python tools/demo.py

test: $(VENV)/dev
	$(PYTEST)

# what is left out of `make test` for its time: runs that are killed or resume
# on several ranks, and most of the 58 backbones
test-slow: $(VENV)/dev
	$(PYTEST) -m 'slow and not faults'

# a run is killed twenty times: some minutes
test-faults: $(VENV)/dev
	$(PYTEST) -m faults tests/system/faults

# reports are opened in Chromium, which has to be on the path
test-browser: $(VENV)/dev
	@command -v chromium > /dev/null || { echo "Expected Chromium for" \
	    "'make test-browser', but there is no 'chromium' on the path." \
	    "Install it, on Debian with 'apt-get install chromium'." >&2; exit 1; }
	$(PYTEST) -m browser tests/suite/report

# On upstream MMPretrain 1.2.0 rather than the maintained fork: what calls the
# host. The mathematics, tables and figures are the same on both.
test-upstream: BIN := $(UPSTREAM)/bin
test-upstream: $(UPSTREAM)/dev
	$(PYTEST) tests/test_host.py tests/models tests/engine tests/checkpoints \
	    tests/export/test_fold.py tests/integration tests/configs/test_configs.py

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
$(VENV312)/smoke: setup.cfg requirements/demo.txt
	if command -v uv > /dev/null; then \
	    uv venv --quiet --clear --python "$(PYTHON312)" $(@D) && \
	    uv pip install --quiet --python $(@D)/bin/python --require-hashes \
	        -r requirements/demo.txt && \
	    uv pip install --quiet --python $(@D)/bin/python pytest -e .; \
	else \
	    "$(PYTHON312)" -m venv $(@D) && \
	    $(@D)/bin/python -m pip install --quiet --require-hashes \
	        -r requirements/demo.txt && \
	    $(@D)/bin/python -m pip install --quiet pytest -e .; \
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
	$(BIN)/pyright --project pyproject.toml --pythonpath $(BIN)/python
	$(BIN)/codespell mmanchor configs tools docs README.md CHANGELOG.md

format: $(VENV)/dev
	$(BIN)/ruff check --fix $(LINTED)
	$(BIN)/ruff format $(LINTED)

clean:
	rm -rf $(VENV) $(UPSTREAM) $(VENV312) build dist *.egg-info

# A stamp file says what an environment holds: it is made again when the
# versions in its lock file change. `uv` installs in seconds where it is on
# the path; pip does the same from the same file where it is not, or fails.
UV := $(shell command -v uv)
# certificates of the system, as pip has them: proxies bring their own
export UV_SYSTEM_CERTS := 1
# where Python may not write bytecode, each process would compile thousands of
# files when it imports the host
export UV_COMPILE_BYTECODE := $(if $(PYTHONDONTWRITEBYTECODE),1)
WITH_UV = { test -x $(@D)/bin/python || \
    uv venv --quiet --python $(PYTHON) $(@D); } && \
    uv pip install --quiet --python $(@D)/bin/python --require-hashes \
        -r requirements/$(LOCK).txt && \
    uv pip install --quiet --python $(@D)/bin/python --no-deps -e .
WITH_PIP = { $(PYTHON) -m venv $(@D) && \
    $(@D)/bin/python -m pip install --quiet --progress-bar on \
        --require-hashes -r requirements/$(LOCK).txt && \
    $(@D)/bin/python -m pip install --quiet --no-deps -e .; }
$(VENV)/demo $(VENV)/dev $(UPSTREAM)/dev $(VENV)/docs: LOCK = $(@F)
$(UPSTREAM)/dev: LOCK = upstream

$(VENV)/demo $(VENV)/dev $(VENV)/docs: $(VENV)/%: requirements/%.txt
$(UPSTREAM)/dev: requirements/upstream.txt
$(VENV)/demo $(VENV)/dev $(UPSTREAM)/dev $(VENV)/docs: setup.cfg
	$(if $(UV),$(WITH_UV) ||) $(WITH_PIP)
	touch $@

# Lock files for every Python and system, with hashes: versions that are
# locked already stay, unless UPGRADE=--upgrade. Needs `uv`.
lock: lock-demo lock-dev lock-docs lock-upstream
lock-demo: EXTRAS := --extra host --extra demo
lock-dev: EXTRAS := --extra host --extra mim --extra dev
lock-docs: EXTRAS := --extra docs
lock-upstream: EXTRAS := --extra upstream --extra upstream-mim --extra dev
lock-%:
	uv pip compile --quiet --universal --generate-hashes --no-annotate \
	    --python-version 3.10 --constraint requirements/pinned.in \
	    --custom-compile-command 'make lock' $(UPGRADE) $(EXTRAS) \
	    setup.cfg --output-file requirements/$*.txt

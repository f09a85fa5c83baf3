# Two commands are all a fresh machine needs: `make bench` and `make test`.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
export PIP_CONSTRAINT := $(CURDIR)/constraints.txt
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: bench test test-slow lint format benchmarks benchmarks-against docs schema ci-example oracles horovod clean help

help: ## Show the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "make %-19s %s\n", $$1, $$2}'

bench: $(VENV)/.all ## Install, then run the main job: generators side by side on real haplotypes
	$(BIN)/bench run suites/1kg.yaml --jobs 2

test: $(VENV)/.dev ## Install, then run the tests
	OMP_NUM_THREADS=1 NUMBA_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 -m "not slow" $(PYTEST_ARGS)

test-slow: $(VENV)/.dev ## Run the tests that take minutes
	OMP_NUM_THREADS=1 NUMBA_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile -m slow $(PYTEST_ARGS)

lint: $(VENV)/.dev ## ruff format and check, mypy --strict
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: $(VENV)/.dev ## Let ruff format and mend what it can
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

benchmarks: $(VENV)/.dev ## Measure the kernels' speed beside other tools'
	$(BIN)/python -m pytest benchmarks -m "" --benchmark-only --benchmark-autosave $(PYTEST_ARGS)

benchmarks-against: $(VENV)/.dev ## Measure them beside another commit's, in turn: BASE=main
	$(BIN)/python benchmarks/against.py $(BASE) $(AGAINST_ARGS)

docs: $(VENV)/.dev ## Build the documentation into build/site, warnings as errors
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

schema: $(VENV)/.dev ## Write docs/suite.schema.json, for completion and checking in editors
	$(BIN)/bench schema --to docs/suite.schema.json

ci-example: $(VENV)/.dev ## The steps of .github/workflows/haplobench.yml, here
	PATH="$(abspath $(BIN)):$$PATH" $(BIN)/python scripts/ci_example.py

oracles: ## Install the programs that tests compare with (Debian or Ubuntu, as root; optional)
	scripts/install_oracles.sh

horovod: $(VENV)/.all ## Build and install Horovod, the second back end of distributed training
	scripts/build_horovod.sh $(BIN)/python

clean: ## Remove the virtual environment and caches
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .benchmarks dist build

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	    { echo "haplobench needs Python 3.11 or later; '$(PYTHON)' is older (set PYTHON=...)" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.all: $(VENV)/bin/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet --editable '.[all]'
	@touch $@

$(VENV)/.dev: $(VENV)/bin/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	@touch $@ $(VENV)/.all

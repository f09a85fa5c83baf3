# Two commands are all a fresh machine needs: `make bench` and `make test`.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
export PIP_CONSTRAINT := $(CURDIR)/constraints.txt
export PIP_DISABLE_PIP_VERSION_CHECK := 1

# Suites with a page in docs/results/, and their profile where `make gallery` runs them.
GALLERY := 1kg peers privacy scaling flagship
PROFILE ?= quick

# The oldest and the newest Python that README names, and what lies between.
PYTHONS := 3.11.2 3.12 3.13
# Programs with pins of their own, by `dependency-groups` of pyproject.toml and packaging/*.txt.
PROGRAMS := hadolint multiqc snakemake trackers tsinfer
# Programs of the environment, tsinfer's say, are found as in an activated one.
TESTED := PATH="$(abspath $(BIN)):$$PATH" OMP_NUM_THREADS=1 NUMBA_NUM_THREADS=1
# Wheels only: a fresh machine has no compilers.
COMPILE = $(BIN)/uv pip compile --quiet --python $(BIN)/python --only-binary :all: --extra dev pyproject.toml

.PHONY: bench test test-slow fuzz kill lint format benchmarks benchmarks-against findings docs gallery notebook schema ci-example lock resolve oracles horovod programs $(PROGRAMS) clean help

help: ## Show the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "make %-19s %s\n", $$1, $$2}'

bench: $(VENV)/.all ## Install, then run the main job: generators side by side on real haplotypes
	$(BIN)/bench run suites/1kg.yaml --jobs 2

test: $(VENV)/.test ## Install, then run the tests
	$(TESTED) $(BIN)/python -m pytest -n 2 -m "not slow" $(PYTEST_ARGS)

test-slow: $(VENV)/.test ## Run the tests that take minutes
	$(TESTED) $(BIN)/python -m pytest -n 2 --dist loadfile -m slow $(PYTEST_ARGS)

fuzz: $(VENV)/.dev ## Change files at random, 20,000 of each kind, and hold their readers to it: FUZZ_INPUTS, FUZZ_SEED
	$(TESTED) FUZZ_INPUTS=$(or $(FUZZ_INPUTS),20000) $(BIN)/python -m pytest -n 2 -k fuzz --timeout 0 tests/robustness $(PYTEST_ARGS)

kill: $(VENV)/.dev ## Kill runs 200 times, at any moment, and hold their records to it: KILLS, FUZZ_SEED
	$(TESTED) KILLS=$(or $(KILLS),200) $(BIN)/python -m pytest -k kills tests/robustness $(PYTEST_ARGS)

lint: $(VENV)/.dev ## ruff format and check, mypy --strict
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: $(VENV)/.dev ## Let ruff format and mend what it can
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

benchmarks: $(VENV)/.test ## Measure the kernels' speed beside other tools'
	$(BIN)/python -m pytest benchmarks -m "" --benchmark-only --benchmark-autosave $(PYTEST_ARGS)

benchmarks-against: $(VENV)/.test ## Measure them beside another commit's, in turn: BASE=main
	$(BIN)/python benchmarks/against.py $(BASE) $(AGAINST_ARGS)

findings: ## Run what surprised us in other libraries, each in an environment of its own (minutes; not part of CI)
	@for f in findings/*.sh; do echo "== $$f"; sh $$f || exit 1; done

docs: $(VENV)/.dev ## Build the documentation into build/site, warnings as errors
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

gallery: $(VENV)/.all ## Write docs/results/ from RUNS=results/SUITE/RUN, or run the suites first: PROFILE=quick
	@test -n "$(RUNS)" || for suite in $(GALLERY); do \
	    $(BIN)/bench run suites/$$suite.yaml $(addprefix --set profile=,$(PROFILE)) --jobs 1; \
	    test $$? -le 1 || exit 1; done
	$(BIN)/python scripts/gallery.py --suites "$(GALLERY)" $(or $(RUNS),$(GALLERY))

notebook: $(VENV)/.test ## Execute docs/notebook.ipynb, whose outputs the documentation shows
	cp docs/notebook.ipynb $(VENV)/notebook.ipynb
	cd $(VENV) && bin/jupyter execute --inplace notebook.ipynb
	mv $(VENV)/notebook.ipynb docs/notebook.ipynb

schema: $(VENV)/.dev ## Write docs/suite.schema.json, for completion and checking in editors
	$(BIN)/bench schema --to docs/suite.schema.json

ci-example: $(VENV)/.test ## The steps of .github/workflows/haplobench.yml, here
	PATH="$(abspath $(BIN)):$$PATH" $(BIN)/python scripts/ci_example.py

lock: $(BIN)/uv ## Pin what pyproject.toml asks for (UV_ARGS=--upgrade: by its newest releases)
	$(COMPILE) --universal --python-version $(firstword $(PYTHONS)) --no-annotate $(UV_ARGS) \
	    --custom-compile-command "make lock" --output-file constraints.txt
	for program in $(PROGRAMS); do \
	    sources="--group $$program"; test $$program != trackers || sources="$$sources pyproject.toml"; \
	    $(BIN)/uv pip compile --quiet --universal --python-version $(firstword $(PYTHONS)) --no-annotate \
	        $(UV_ARGS) --custom-compile-command "make lock" --output-file packaging/$$program.txt $$sources || exit 1; done

resolve: $(BIN)/uv ## Try the pins on every Python of README, by the packages' metadata alone
	@for version in $(PYTHONS); do \
	    $(COMPILE) --python-version $$version --constraints constraints.txt >$(VENV)/resolved.txt || \
	        { echo "constraints.txt: its pins don't resolve on Python $$version" >&2; exit 1; }; \
	    echo "constraints.txt: resolves on Python $$version"; \
	done

oracles: ## Install the programs that tests compare with (Debian or Ubuntu, as root; optional)
	scripts/install_oracles.sh

horovod: $(VENV)/.all ## Build and install Horovod, the second back end of distributed training
	scripts/build_horovod.sh $(BIN)/python

programs: $(PROGRAMS) ## Install each of $(PROGRAMS) in an environment of its own, .venv/NAME

# What can't be installed beside haplobench, or would bring a hundred packages: tsinfer wants zarr
# below 3, say, what reads VCF one above. trackers is TensorBoard, MLflow and what the core needs.
hadolint multiqc snakemake trackers tsinfer: $(VENV)/bin/python
	$(PYTHON) -m venv $(VENV)/$@
	PIP_CONSTRAINT= $(VENV)/$@/bin/pip install --quiet --prefer-binary --requirement packaging/$@.txt
	test ! -e $(VENV)/$@/bin/$@ || ln -sf ../$@/bin/$@ $(BIN)/$@

clean: ## Remove the virtual environment and caches
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .benchmarks dist build

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	    { echo "haplobench needs Python 3.11 or later; '$(PYTHON)' is older (set PYTHON=...)" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)

$(BIN)/uv: PACKAGES := uv
$(VENV)/.all: PACKAGES := --editable .[all]
$(VENV)/.test: PACKAGES := --editable .[all,homomorphic,test]
$(VENV)/.dev: PACKAGES := --editable .[dev]
$(VENV)/.test: IMPLIED := $(VENV)/.all
$(VENV)/.dev: IMPLIED := $(VENV)/.test $(VENV)/.all

# --quiet would hide what conflicts: pip tells it as information. So everything goes to a log, and
# an install that fails shows the log's end, less what pip repeats for every package.
$(BIN)/uv $(VENV)/.all $(VENV)/.test $(VENV)/.dev: $(VENV)/bin/python pyproject.toml constraints.txt
	@echo "Installing $(PACKAGES) into $(VENV) (told in $(VENV)/install.log)"
	@$(BIN)/python -m pip install $(PACKAGES) >$(VENV)/install.log 2>&1 || \
	    { grep -vE '^(WARNING: Location|INFO: pip is)' $(VENV)/install.log | tail -n 30 >&2; exit 1; }
	@touch $@ $(IMPLIED)

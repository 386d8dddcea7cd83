# What a checkout can do, with git, make and Python 3.11 or newer: `make help` lists it.
# Each target makes the virtual environment it needs, and makes it again when pyproject.toml changes.

PYTHON ?= python3
PYTEST_ARGS ?=
RUN_ARGS ?=
REPORT_ARGS ?=
TEST_PROCESSES ?= 2
INTEROP_PROCESSES ?= 3
CRASH_ARGS ?= --seconds 600
KILL_ARGS ?= --cycles 200

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
PYTEST := $(BIN)/python -m pytest
# Some files of tests run at a time: they mostly wait, for processes and for clocks.
BESIDE := --dist loadfile --no-loadscope-reorder
INTEROP := $(PYTEST) -m interop tests/interop --numprocesses $(INTEROP_PROCESSES) $(BESIDE)
NATS_VERSION := v2.10.22

.DEFAULT_GOAL := help
.PHONY: help run test crash interop interop-reference interop-table interop-java lint format perf perf-check perf-peers perf-report clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "%-18s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

run: $(VENV)/.installed ## Start a broker and its name server here, with store and logs in .run/
	@mkdir -p .run/store .run/logs
	SHMQ_LOG_DIRECTORY=.run/logs exec $(BIN)/shmq-supervisor --store-root .run/store $(RUN_ARGS)

test: $(VENV)/.installed-test ## Run every test that needs nothing but Python
	$(PYTEST) -m "not interop" --numprocesses $(TEST_PROCESSES) $(BESIDE) $(PYTEST_ARGS)

crash: $(VENV)/.installed-test ## Kill brokers two hundred times, cut the power of others for ten minutes (docs/reliability.md)
	$(BIN)/python -m tests.crash.kills $(KILL_ARGS)
	$(BIN)/python -m tests.crash.power_loss $(CRASH_ARGS)

interop: $(VENV)/.installed-interop interop-java ## Run RocketMQ's own clients and brokers against shmq (JDK 17, Maven)
	INTEROP_ENDPOINTS=shmq $(INTEROP) $(PYTEST_ARGS)

interop-reference: $(VENV)/.installed-interop interop-java ## Run the same against RocketMQ's own broker: are the tests right?
	INTEROP_ENDPOINTS=java $(INTEROP) $(PYTEST_ARGS)

interop-table: $(VENV)/.installed-interop interop-java ## Run it against shmq, and write down what passed (docs/compatibility.md)
	rm -f docs/interop.json
	INTEROP_ENDPOINTS=shmq INTEROP_RESULTS=docs/interop.json $(INTEROP) $(PYTEST_ARGS)
	$(BIN)/python tools/write_compatibility_page.py

interop-java: $(VENV)/.installed-test
	$(BIN)/python -m tests.support.java_build

lint: $(VENV)/.installed-lint ## Check style, types and layers
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.installed-lint ## Format the source
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

perf: $(VENV)/.installed-perf ## Measure; perf/README.md says what and how
	@mkdir -p perf/build
	$(PYTEST) perf --fill-cache perf/build/filler $(PYTEST_ARGS)

perf-check: $(VENV)/.installed-perf ## Does the suite itself work? Each question for a moment, beside no peer that must be installed
	@mkdir -p perf/build
	$(PYTEST) perf --quick --peers none --deselect start_up.py::test_cold_start $(PYTEST_ARGS)

perf-peers: $(VENV)/.installed-perf ## Install the peers of the benchmarks (JDK 17, Maven and Go are there; redis by apt-get)
	command -v redis-server >/dev/null || apt-get install -y --no-install-recommends redis-server
	GOBIN=$(CURDIR)/perf/build/bin go install github.com/nats-io/nats-server/v2@$(NATS_VERSION)
	cd perf/java && mvn --quiet --batch-mode process-classes
	$(BIN)/python -m tests.support.java_build

perf-report: $(VENV)/.installed-perf ## Draw what was measured, and write its summary into perf/README.md
	$(BIN)/python -m perf.report $(REPORT_ARGS)

clean: ## Remove what the targets made, but no store
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .benchmarks .import_linter_cache
	rm -rf tests/interop/java/build tests/interop/java/target tests/interop/java/*/target
	rm -rf perf/build perf/java/*/target

$(BIN)/python:
	@command -v $(PYTHON) >/dev/null || \
	  { echo "shmq needs Python 3.11 or newer; '$(PYTHON)' was not found (make PYTHON=/path/to/python3)"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "shmq needs Python 3.11 or newer, not $$($(PYTHON) --version) (make PYTHON=/path/to/python3)"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
	  { echo "$(PYTHON) has no venv or no pip; on Debian and Ubuntu: apt-get install python3-venv"; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml | $(BIN)/python
	$(PIP) --editable .
	@touch $@

$(VENV)/.installed-test: pyproject.toml | $(BIN)/python
	$(PIP) --editable '.[test]'
	@touch $@ $(VENV)/.installed

$(VENV)/.installed-lint: pyproject.toml | $(BIN)/python
	$(PIP) --editable '.[test,lint,perf]'
	@touch $@

$(VENV)/.installed-interop: pyproject.toml | $(BIN)/python
	$(PIP) --editable '.[test,interop]'
	@touch $@

$(VENV)/.installed-perf: pyproject.toml | $(BIN)/python
	$(PIP) --editable '.[test,perf]'
	@touch $@

# Every word here works on a fresh clone: what a target needs, it makes.

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# The first of these that is new enough; `make setup PYTHON=/path/to/python` names another.
PYTHON ?= $(shell for python in python3 python3.13 python3.12 python3.11; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && break; done)
# The one tool that resolves for every platform and Python at once; only `make lock` needs it.
UV := uv==0.13.9
COMPILE := $(BIN)/uv pip compile --universal --python-version 3.11 --generate-hashes --no-annotate \
	--no-emit-index-url --no-emit-find-links --no-config --quiet --custom-compile-command 'make lock'

export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-all bench check format docs picture schema lock clean chaos fuzz

help: ## show this
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(STAMP) ## make .venv with everything pinned, and neuroon-consumer in it

demo: setup ## watch orders go from a private RabbitMQ to a local Neuroon
	@$(BIN)/neuroon-consumer demo

# In two processes, because tests mostly wait, for brokers and retries; each has a RabbitMQ and a PostgreSQL of its own.
# Each begins with a half of the files, in order, and takes from the other's end when it is through: costly fixtures of
# a module are made once. ARGS="-n 0" runs all in one, for a debugger.
test: setup ## run the everyday tests, on brokers of their own (ARGS="-k ladder" to choose)
	@$(BIN)/pytest --numprocesses=2 --dist=worksteal -m 'not long' $(ARGS)

test-all: setup ## run every test, those included that take long: clusters, upgrades, storms
	@$(BIN)/pytest --numprocesses=2 --dist=worksteal $(ARGS)

# Also FAULTS=, how many are drawn (26 a minute), and LEDGER=memory, sqlite or postgres, which both consumers share.
chaos: setup ## a storm of faults over orders, every one accounted for (SEED=1 MINUTES=20 ORDERS=50000)
	@SEED='$(SEED)' MINUTES='$(MINUTES)' ORDERS='$(ORDERS)' FAULTS='$(FAULTS)' LEDGER='$(LEDGER)' $(BIN)/python -m tests.chaos

# Also SEED=, which draws the examples of an earlier run again, and PROCESSES=, of which there are as many as cores.
fuzz: setup ## property tests of every parser, on new examples (MINUTES=10 for each target, TARGET=http)
	@MINUTES='$(MINUTES)' TARGET='$(TARGET)' SEED='$(SEED)' PROCESSES='$(PROCESSES)' $(BIN)/python -m tests.fuzz

# The peers' packages are for this alone. --ignore-scripts: what is installed runs nothing before it is measured.
bench: setup ## this program beside its peers (ARGS="drain slow500 --quick"; ARGS=--help)
	@$(BIN)/python -m pip install --quiet --require-hashes --requirement requirements/bench.txt
	@if command -v npm >/dev/null; then npm --prefix bench/peers ci --ignore-scripts --silent; else \
	echo >&2 "There is no npm here: the Node peers are left out"; fi
	@$(BIN)/python -m bench $(ARGS)

check: setup ## formatting, lint, types, who may import whom, secrets, known holes
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	PYTHONPATH=. $(BIN)/lint-imports --no-logo
	PYTHONPATH=. $(BIN)/python -m tests.support.secretscan
	PYTHONPATH=. $(BIN)/python -m tests.support.audit

format: setup ## put the code in shape
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

schema: setup ## write docs/schema/ anew from the code
	@mkdir -p docs/schema
	$(BIN)/neuroon-consumer schema json-schema > docs/schema/order-paid.schema.json
	$(BIN)/neuroon-consumer schema asyncapi > docs/schema/asyncapi.json

docs: setup ## write the reference pages of docs/ from the code
	PYTHONPATH=. $(BIN)/python -m tests.support.reference

picture: setup ## draw docs/dashboard.png from a run of ten minutes
	$(BIN)/python -m pip install --quiet --require-hashes --requirement requirements/docs.txt
	PYTHONPATH=. $(BIN)/python docs/dashboard/storm.py $(VENV)/answers.json
	$(BIN)/python docs/dashboard/draw.py $(VENV)/answers.json docs/dashboard.png

lock: setup ## pin what pyproject.toml asks for, with hashes (UPGRADE=--upgrade for the newest of all)
	$(BIN)/python -m pip install --quiet '$(UV)'
	$(COMPILE) $(UPGRADE) pyproject.toml --extra mysql --output-file requirements/runtime.txt
	$(COMPILE) $(UPGRADE) pyproject.toml --constraint requirements/runtime.txt --all-extras --output-file requirements/otel.txt
	$(COMPILE) $(UPGRADE) pyproject.toml --constraint requirements/otel.txt --all-extras --group dev --output-file requirements/dev.txt
	$(COMPILE) $(UPGRADE) --constraint requirements/dev.txt --group build --output-file requirements/build.txt
	$(COMPILE) $(UPGRADE) --constraint requirements/dev.txt --group bench --output-file requirements/bench.txt
	$(COMPILE) $(UPGRADE) --constraint requirements/dev.txt --group docs --output-file requirements/docs.txt

clean: ## take away everything that was made here
	rm -rf $(VENV) bench/peers/node_modules build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache .coverage
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(STAMP): requirements/dev.txt pyproject.toml
	@[ -n "$(PYTHON)" ] || { echo >&2 "Python 3.11 or newer is needed; here is $$(python3 --version 2>&1). \
	Name one: make setup PYTHON=/path/to/python3.12"; exit 1; }
	@[ -x $(BIN)/python ] && $(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV) || { \
	rm -rf $(VENV); echo >&2 "No virtual environment could be made. On Debian and Ubuntu: apt install python3-venv"; exit 1; }
	$(BIN)/python -m pip install --quiet --require-hashes --requirement requirements/dev.txt
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

# Everything starts here: `make run` to use Raffia, `make test` to check all of it. `make help` lists the rest.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory
PYTHON ?= python3
BIN := .venv/bin
# Test processes for two cores: many tests mostly wait, so more than two run side by side.
WORKERS ?= 4
BREAKERS ?= 3

.PHONY: help setup run cluster dev test check format lint types app system-tools clients quick together breaking measuring
.PHONY: soak thorough faults attacks browsers bench fuzz docs map screenshots dist clean
help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 14

setup: .make/python .make/page  ## create .venv with the raffia command and everything pinned, build the browser app

.make/python: requirements/dev.txt pyproject.toml
	@mkdir -p .make
	@test -x $(BIN)/pip || $(PYTHON) -m venv .venv || { rm -rf .venv; \
		echo "cannot make .venv: Raffia needs Python 3.11 or newer with venv (Debian: apt-get install python3-venv)"; exit 1; }
	$(BIN)/python -m pip install --quiet --require-hashes -r requirements/dev.txt
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

APP := frontend/package-lock.json frontend/package.json frontend/index.html frontend/vite.config.ts frontend/tsconfig.json \
	$(shell find frontend/src frontend/public frontend/scripts frontend/licenses -type f)

.make/page: $(APP)
	@mkdir -p .make
	@command -v npm > /dev/null || { echo "the browser app is built with Node 20.19 or newer; install nodejs and npm"; exit 1; }
	infra/npm-ci.sh frontend
	cd frontend && npm run --silent build
	@touch $@

run: setup  ## start Raffia on http://127.0.0.1:8000, documents in ./raffia-data
	exec $(BIN)/raffia serve

cluster: setup  ## three replicas around Redis behind HAProxy, same URL; ARGS=--port=8080; documents in ./raffia-cluster
	exec $(BIN)/python infra/cluster.py $(ARGS)

dev: setup  ## one process, restarted when a Python file changes
	RAFFIA_LOG_LEVEL=debug $(BIN)/python -m uvicorn raffia.app:create_app --factory --reload --reload-dir backend --ws raffia.sockets.server.protocol:RaffiaWebSocketProtocol

test: setup system-tools  ## all checks and all tests, with the time of each stage; nothing is skipped
	@NO_SKIPS=1 tools/stages.sh format lint types app clients together breaking measuring

check: setup  ## the quick part: format, lint, types, the app, unit and contract tests
	@tools/stages.sh format lint types app quick

# Tests that wait run beside tests that compute. Tests that break things come after them, and tests that measure times run
# alone at the end. tests/conftest.py says which tests share a process.
PARALLEL := $(BIN)/pytest -q --dist loadscope --no-loadscope-reorder
quick: setup
	$(PARALLEL) -n $(WORKERS) -m "not slow" tests/unit tests/contract

together: setup
	$(PARALLEL) -n $(WORKERS) -m "not thorough" tests --ignore tests/faults --ignore tests/bench

breaking: setup
	$(PARALLEL) -n $(BREAKERS) -m "not alone and not thorough" tests/bench tests/faults

measuring: setup
	$(BIN)/pytest -q -m alone tests/faults

format: setup
	$(BIN)/ruff format --check .

lint: setup
	$(BIN)/ruff check .

types: setup
	$(BIN)/mypy

app: setup  # the browser app: lint, unit tests, what its pages load (its types are checked when it is built)
	cd frontend && npm run --silent lint && npm test --silent && npm run --silent size

system-tools:  # what tests need from the system: installed when root on Debian, named otherwise
	infra/system-tools.sh

clients: setup  # the npm clients of the tests, each version in its own folder
	$(BIN)/python -m tests.interop.install

soak: setup system-tools clients  ## everything that takes long: thorough, faults, attacks, browsers, bench, fuzz, with times
	@tools/stages.sh thorough faults attacks browsers bench fuzz

thorough: setup system-tools clients  # the long forms of tests of which make test runs a short one
	NO_SKIPS=1 $(PARALLEL) -n $(WORKERS) -m thorough tests --ignore tests/attacks --ignore tests/browser

browsers: setup system-tools  ## all browser tests, of which make test runs the main scenarios
	NO_SKIPS=1 $(PARALLEL) -n 2 tests/browser

attacks: setup system-tools  ## attack the server with hostile bytes, tokens, load and REST calls; one file: ARGS="-k doors"
	NO_SKIPS=1 $(PARALLEL) -n $(WORKERS) tests/attacks $(ARGS)

bench: setup  ## measure against other servers; writes docs/benchmarks.md
	$(BIN)/python -m tools.bench
	$(BIN)/python -m tools.bench.replicas
	$(BIN)/python -m tools.bench.browser

faults: setup system-tools  ## kill, fill and cut things at length, into docs/faults.md; one row: ARGS="-k storm"
	$(BIN)/python -m tests.faults $(ARGS)

fuzz: setup $(if $(MINUTES),.make/fuzz-tool)  ## a million mutated inputs through all readers; MINUTES=60: guided by coverage
	$(BIN)/python -m tools.fuzz $(if $(MINUTES),--minutes $(MINUTES) --work .make/fuzz,--executions 1000000)

.make/fuzz-tool: requirements/fuzz.txt .make/python
	$(BIN)/python -m pip install --quiet --require-hashes -r requirements/fuzz.txt
	@touch $@

docs: setup  ## write what is made from the code: docs/settings.md
	$(BIN)/raffia settings > docs/settings.md

map:  ## folders, arrows between them, circles, sizes; another checkout: ARGS=../other
	@$(PYTHON) tools/map.py $(ARGS)

screenshots: setup system-tools  ## pictures of every page and state of the app, into docs/screenshots
	infra/system-tools.sh fonts-noto-color-emoji
	$(BIN)/python -m tools.screens

dist: setup  ## build the wheel and the source archive into dist/
	$(BIN)/python -m build --no-isolation

clean:  ## remove everything that was built; documents in raffia-data stay
	rm -rf .venv .make dist build backend/raffia/static/app frontend/node_modules tests/interop/*/node_modules tests/interop/clients/*/node_modules tools/bench/peers/*/node_modules

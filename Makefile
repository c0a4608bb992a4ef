# Bare `make` lists the verbs. `make up` and `make test` need Python 3.11 or newer and nothing else.
.DEFAULT_GOAL := help
SHELL := /bin/sh

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := .make/env
# As tools/bootstrap.py finds it.
UV = $(firstword $(shell command -v uv) $(wildcard .make/uv-env/bin/uv .make/uv $(BIN)/uv) uv)
DATA ?= data
PYTEST_ARGS ?=
SOAK_EVENTS ?= 48000
SOAK_KILLS ?= 50
FUZZ_SECONDS ?= 900

.PHONY: help up test check lint types imports format unit env system kernel portal wheel bench soak domains fuzz fuzz-intake hostile delays hour thirds kill garbage counts docs screenshots clean

help: ## List the verbs
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | sort | expand -t 14

up: env kernel portal ## Set up everything and start Tocsin with the demo; prints address and sign-in
	$(BIN)/tocsin up --demo --data $(DATA)

test: env system kernel portal ## Set up everything (system packages where it may) and run all tests
	$(BIN)/python tools/test.py $(PYTEST_ARGS)

check: env lint types imports test ## What must hold before a commit: ruff, mypy, import-linter, tests

lint: env ## ruff: style and common mistakes
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: env ## mypy, strict
	$(BIN)/mypy

imports: env ## import-linter: the house's directions
	$(BIN)/lint-imports

format: env ## Format the code
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

unit: env ## Only the tests that need no system package and take little time
	$(BIN)/pytest -m "not system and not slow" $(PYTEST_ARGS)

env: $(STAMP) ## Make the environment in .venv from uv.lock

$(STAMP): pyproject.toml uv.lock tools/bootstrap.py
	$(PYTHON) tools/bootstrap.py
	@mkdir -p .make && touch $@

system: ## Install the Debian packages that tests of real peers need (as root; otherwise says what is missing)
	@$(PYTHON) tools/system.py

kernel: env ## Build the native kernels for Sigma rules and Windows events; without a C compiler it says so and goes on
	@$(BIN)/python src/tocsin/detect/sigma/build.py

portal: env ## Build the portal with Node from PyPI; nothing to do when it is up to date
	$(BIN)/python -m tocsin.portal.build

wheel: env ## Build sdist and wheel, portal and packs included
	$(UV) build

bench: env kernel portal ## Measure speed and memory; numbers go into bench/README.md
	$(BIN)/python -m bench

fuzz: env ## Look for texts that break the KQL compiler, for FUZZ_SECONDS (900); what it finds is in .make/fuzz/found
	$(UV) sync --quiet --locked --inexact --group fuzz
	$(BIN)/python -m tests.kql.fuzz $(FUZZ_SECONDS)

fuzz-intake: env ## Look for bytes that break what reads the network, for FUZZ_SECONDS in all; what it finds is in .make/fuzz-intake/*/found
	$(UV) sync --quiet --locked --inexact --group fuzz
	$(BIN)/python -m tests.ingest.fuzz $(FUZZ_SECONDS)

hostile: env ## All queries made to exhaust the machine, and every 7th prefix of every query of the corpora
	$(BIN)/python -m tests.kql.hostile
	$(BIN)/python -m tests.kql.prefixes --step 7

delays: env ## The long form of the delay matrix; its table goes to docs/explanation/detection-delays.md
	$(BIN)/python -m tests.detect.delays --out docs/explanation/detection-delays.md

hour: env kernel ## How late 562 rules start in an hour of a workspace that runs; figures go into bench/README.md by hand
	$(BIN)/python -m bench.lateness 60

thirds: env kernel ## All Sigma rules over all recorded Windows events, judged by the matcher, an interpreter and pySigma's SQLite backend
	$(BIN)/python -m tests.detect.thirds

kill: env ## The long form of the kill -9 tests
	TOCSIN_KILLS=200 $(BIN)/pytest tests/lake/test_kill.py -q
	TOCSIN_RULE_KILLS=20 $(BIN)/pytest tests/detect/test_kill.py -q
	TOCSIN_STREAM_KILLS=20 $(BIN)/pytest tests/workspace/test_stream_kill.py -q
	TOCSIN_WALK_KILLS=20 $(BIN)/pytest tests/incidents/test_walk.py -q
	TOCSIN_ARCHIVE_KILLS=100 $(BIN)/pytest tests/workspace/test_archive_kill.py -q -s

domains: env system ## The attacks over several domains (tests/e2e/domains), their rows in each order: by time, shuffled, as late as sources are
	for order in time shuffled lagged; do TOCSIN_ORDER=$$order $(BIN)/python -m pytest -q tests/e2e/test_domains.py || exit 1; done

soak: env system ## Numbered events by every protocol while the server is killed; figures go to docs/reference/delivery.md
	$(UV) sync --quiet --locked --inexact --group peers
	$(BIN)/python -m tests.e2e.soak --events $(SOAK_EVENTS) --kills $(SOAK_KILLS) --out docs/reference/delivery.md

explore: env ## The tests that share the machine, property tests on examples that nobody has tried yet
	TOCSIN_EXAMPLES=explore $(BIN)/pytest -n auto --dist loadfile -m "not alone" $(PYTEST_ARGS)

garbage: env ## Garbage at every intake port: 10,000 connections with random bytes, and 10,000 with known bad input at each receiver
	TOCSIN_FUZZ_CONNECTIONS=10000 TOCSIN_FUZZ_SEED=$$(date +%s) $(BIN)/pytest tests/ingest/test_garbage.py -q
	TOCSIN_FUZZ_CONNECTIONS=10000 $(BIN)/pytest tests/ingest/test_refusals.py tests/ingest/test_wef.py -q -s --timeout 0

counts: env ## Count the records of ../shared/data twice, with Tocsin and with other parsers, file by file
	$(BIN)/python -m tests.ingest.counts

docs: env ## Write the reference pages that the code generates
	$(BIN)/python tools/asim.py
	$(BIN)/python tools/docs.py

clean: ## Remove what was built, not your data
	rm -rf .make $(VENV) dist build src/tocsin/portal/static ui/node_modules .pytest_cache .mypy_cache .ruff_cache

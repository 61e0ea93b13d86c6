# Restock. Needs GNU make and Python 3.11 or newer; tests against a real Kafka also Java 17 and Maven, or Docker.

.DEFAULT_GOAL := help
SHELL := /bin/sh
.DELETE_ON_ERROR:

VENV := .venv
BIN := $(VENV)/bin
PACKAGES := $(VENV)/.packages
READY := $(VENV)/.ready

# the first Python that is new enough; `make install PYTHON=/path/to/python` overrides
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$p; break; }; done)

# one thread a process for BLAS: with two cores, its own threads fight ours (32 s against 0.9 s)
export OPENBLAS_NUM_THREADS := 1
export OMP_NUM_THREADS := 1

DEMO_SECONDS ?= 0
PART ?= seeds
MINUTES ?= 60
# which benchmark, and its arguments, as in `make bench BENCH=latency ARGS="--runs 1"`
BENCH ?= all
# extra arguments for pytest, as in `make test ARGS="-k fence"`
ARGS ?=

.PHONY: help install demo test test-pure test-kafka check soak bench docs clean

help: ## Show this help
	@echo "Restock: orders in, reorder points, replenishments and alerts out."
	@echo
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install: $(READY) ## Make .venv with everything in it; .venv/bin/restock is then the command

# the stamps: nothing is done twice unless pyproject.toml changes
$(PACKAGES): pyproject.toml
	@test -n "$(PYTHON)" || { echo "no Python 3.11 or newer found"; \
		echo "  hint: install one, or make install PYTHON=/path/to/python3.11"; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[local,dev]'
	@# stockpyl brings Sphinx, part of which every start of Python would import because of this file: 0.3 s each time
	@rm -f $(VENV)/lib/python3*/site-packages/_sphinx_jinja2_compat.pth
	@# for whoever forbids Python to write bytecode by itself: else every start of a worker compiles what it imports
	@$(BIN)/python -m compileall -q agents models stream tests
	@touch $@

$(READY): $(PACKAGES)
	@echo "compiling loops, once: about 40 s"
	$(BIN)/python -m agents.warm
	@touch $@

demo: $(READY) ## A small shop on an embedded broker and ledger, live; DEMO_SECONDS=30 stops by itself
	@$(BIN)/restock demo --seconds $(DEMO_SECONDS)

test: test-pure test-kafka ## All tests (about 10 minutes on 2 cores); ARGS="-k word" selects

# two processes: these tests share no server; who has no more to do takes from the other
test-pure: $(READY) ## Only the tests that need no real Kafka
	$(BIN)/python -m pytest -n 2 --dist worksteal -m "not kafka and not soak" $(ARGS)

# three processes, each with a Kafka of its own, which its tests share: they kill workers, brokers and Redis, and mostly
# wait, for sessions to end and brokers to come back, so that two would leave a third of two cores idle
test-kafka: $(READY) ## Only the tests against a real Apache Kafka
	$(BIN)/python -m pytest -n 3 --dist worksteal -m "kafka and not soak" $(ARGS)

check: $(PACKAGES) ## Format, lint, strict types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

soak: $(READY) ## Long tests: PART=chaos|seeds|memory MINUTES=60
	@case "$(PART)" in chaos|seeds|memory) ;; *) echo "no such part: $(PART)"; \
		echo "  hint: make soak PART=chaos, seeds or memory"; exit 2;; esac
	RESTOCK_SOAK_MINUTES=$(MINUTES) $(BIN)/python -m pytest -m soak -k "$(PART)" --timeout=0 -s $(ARGS)

bench: $(READY) ## Restock beside its peers, in one run: BENCH=PART, see BENCH=--help (all: about two hours; needs Java and Maven)
	$(BIN)/python -m tests.bench $(BENCH) $(ARGS)

docs: $(READY) ## Write the generated pages of docs/ again
	$(BIN)/python -m agents.pages --write
	$(BIN)/python -m stream.events.schemas

clean: ## Remove .venv and everything generated outside git
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

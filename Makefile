# The commands of this project. `make` alone lists them.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
BIN := .venv/bin
PYTHON_FILES := dagmanager flows operators sinks examples benchmarks tests scripts servers chaos
heading = printf '\n== %s\n'
# Two at a time, each with its output in one piece.
beside = $(MAKE) --no-print-directory --jobs 2 --output-sync=target

# Cache bytecode even where the shell forbids it: the tests start hundreds of processes, each a third faster with it.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help install demo live check test layout lint types layers servers pure mutants format fuzz chaos bench docs wheel lock

help: ## list these commands
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

install: ## create .venv from the lock (quick when nothing changed)
	@scripts/install.sh

demo: ## run nine strategies through the flow, then a changed one (installs the runtime only)
	@scripts/install.sh --runtime
	@$(BIN)/python -m examples.demo

live: ## the flow on a real Kafka and Neo4j, fed without end; Ctrl-C stops all of it
	@scripts/install.sh --runtime
	@$(BIN)/python -m examples.live

check: install ## format, lint, types, import layers and the quick tests (under 90 s)
	@$(beside) layout lint types layers pure

test: install ## everything in `check` and all other tests, on real servers (8 minutes at most); CI runs this
	@$(beside) layout lint types layers servers
	@$(heading) tests
	@$(BIN)/pytest -n 3 --dist worksteal -q

layout:
	@$(heading) 'format (make format fixes it)'
	@$(BIN)/ruff format --check --quiet $(PYTHON_FILES)

lint:
	@$(heading) lint
	@$(BIN)/ruff check --quiet $(PYTHON_FILES)

types:
	@$(heading) types
	@$(BIN)/mypy

layers:
	@$(heading) 'import layers'
	@NO_COLOR=1 $(BIN)/lint-imports --no-cache

servers:
	@$(heading) 'real servers (fetched once)'
	@$(BIN)/python -m servers fetch

# `+` exempts it from --output-sync, so that its progress is visible.
pure:
	@$(heading) 'the quick tests'
	+@$(BIN)/pytest -n 2 -q -m 'not live and not slow'

mutants: install ## mutation testing of the engine's pure rooms, and its score (MINUTES=20; ONLY=PATTERN)
	@$(BIN)/python scripts/mutants.py --minutes $(or $(MINUTES),20) $(ONLY)

format: install ## format the code, sort imports, fix what the linter can fix
	@$(BIN)/ruff check --quiet --fix-only $(PYTHON_FILES)
	@$(BIN)/ruff format --quiet $(PYTHON_FILES)

fuzz: install ## 100,000 mutated strategies, beside a naive twin (minutes; COUNT= and SEED= choose)
	@$(BIN)/python -m tests.fuzz --count $(or $(COUNT),100000) --seed $(or $(SEED),0)

chaos: install ## kill -9 a thousand times, break brokers, database and network, audit (over an hour; KILLS=, SEED=, BROKERS=1 or 3 choose)
	@$(BIN)/python -m servers fetch
	@$(if $(filter 3,$(BROKERS)),,$(BIN)/python -m chaos --kills $(or $(KILLS),1000) $(if $(SEED),--seed $(SEED)))
	@$(if $(filter 1,$(BROKERS)),,$(BIN)/python -m chaos --brokers 3 --kills $(or $(KILLS),300) $(if $(SEED),--seed $(SEED)))

bench: install ## one script per claim of speed
	@for name in pure flow attempts live; do echo "== benchmarks.$$name"; $(BIN)/python -m "benchmarks.$$name"; done

docs: install ## build the documents as a site with search: build/site/index.html
	@NO_MKDOCS_2_WARNING=1 $(BIN)/python scripts/with_seconds.py docs $(BIN)/mkdocs build --strict --quiet && echo build/site/index.html

wheel: install ## build the wheel for pip and pipx: dist/
	@rm -rf build/lib dist  # else a module that was removed since would still be in it
	@$(BIN)/python scripts/with_seconds.py wheel $(BIN)/python -m pip wheel --quiet --no-deps --no-build-isolation --wheel-dir dist . && ls dist/*.whl

lock: ## remake both locks from pyproject.toml (needs a package index)
	@python3 scripts/lock.py

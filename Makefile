# The few commands of this house. `make` alone lists them.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
BIN := .venv/bin
PYTHON_FILES := dagmanager flows operators sinks examples benchmarks tests scripts servers chaos
heading = @printf '\n== %s\n'

.PHONY: help install demo live test format fuzz chaos bench docs wheel lock

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

test: install ## every check: format, lint, types, import layers, tests
	$(heading) 'format (make format mends it)'
	@$(BIN)/ruff format --check --quiet $(PYTHON_FILES)
	$(heading) 'lint'
	@$(BIN)/ruff check --quiet $(PYTHON_FILES)
	$(heading) 'types'
	@$(BIN)/mypy
	$(heading) 'import layers'
	@NO_COLOR=1 $(BIN)/lint-imports --no-cache
	$(heading) 'real servers (fetched once)'
	@$(BIN)/python -m servers fetch
	$(heading) 'tests'
	@$(BIN)/pytest -n 2 -q

format: install ## put code into shape: imports, layout, mendable lint
	@$(BIN)/ruff check --quiet --fix-only $(PYTHON_FILES)
	@$(BIN)/ruff format --quiet $(PYTHON_FILES)

fuzz: install ## 100,000 mutated strategies, beside a naive twin (minutes; COUNT= and SEED= choose)
	@$(BIN)/python -m tests.fuzz --count $(or $(COUNT),100000) --seed $(or $(SEED),0)

chaos: install ## kill -9 a thousand times, break broker, database and network, audit (about an hour; KILLS= and SEED= choose)
	@$(BIN)/python -m servers fetch
	@$(BIN)/python -m chaos --kills $(or $(KILLS),1000) $(if $(SEED),--seed $(SEED))

bench: install ## one script per claim of speed
	@for name in pure flow attempts live; do echo "== benchmarks.$$name"; $(BIN)/python -m "benchmarks.$$name"; done

docs: install ## build the documents as a site with search: build/site/index.html
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet && echo build/site/index.html

wheel: install ## build the wheel for pip and pipx: dist/
	@rm -rf build/lib dist  # else a module that was removed since would still be in it
	@$(BIN)/python -m pip wheel --quiet --no-deps --no-build-isolation --wheel-dir dist . && ls dist/*.whl

lock: ## remake both locks from pyproject.toml (needs a package index)
	@python3 scripts/lock.py

# Everything works from nothing but Python 3.11 or newer and make: the first target that needs an
# environment makes it. `make help` lists the targets.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Tests in parallel, and more arguments for pytest: make test WORKERS=0 PYTEST_ARGS="-x -k decide"
WORKERS ?= 2
PYTEST_ARGS ?=
DEMO_ARGS ?=
BENCH_ARGS ?=
PYTEST := $(BIN)/python -m pytest -n $(WORKERS) $(PYTEST_ARGS)

.DEFAULT_GOAL := help
# One thing after the other, also under `make -j`: the parts of `make test` share two cores as it is.
.NOTPARALLEL:
.DELETE_ON_ERROR:

.PHONY: help demo test test-sqlite test-postgres demo-once lint format smoke-django6 bench soak mutants clean

help: ## list the targets
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 18

# One process in the foreground; whatever ends it or make, nothing it started stays. REDIS_URL and DATABASE_URL, where
# given, are used; otherwise a Valkey of its own and db.sqlite3, which stays. Arguments: make demo DEMO_ARGS="--port 8080"
demo: $(VENV)/.installed ## the demo in a browser: web server, two workers, example cases; until Ctrl-C
	exec $(BIN)/python -m project.stack --with-parent $(DEMO_ARGS)

test: test-sqlite test-postgres lint smoke-django6 ## all tests on SQLite and PostgreSQL, lint, Django 6

test-sqlite: $(VENV)/.installed ## the tests on SQLite
	exec env -u DATABASE_URL $(PYTEST)

# DATABASE_URL, where it names a PostgreSQL, is used; otherwise one is started for this run.
# `exec`: the signal that ends make reaches the runner, which stops the server, and not a shell.
test-postgres: $(VENV)/.installed ## the tests that use the database on a real PostgreSQL
	exec $(BIN)/python -m tests.servers -- $(PYTEST) -m "not once"

# DATABASE_URL, where given, is migrated and used; otherwise the rows live in a temporary folder. The steps run on two
# workers, with a Valkey of their own; DEMO_ARGS=--inline runs them without.
demo-once: $(VENV)/.installed ## every case of the demo data through the demo flows, once
	exec $(BIN)/python -m project.demo --with-parent $(DEMO_ARGS)

lint: $(VENV)/.installed ## ruff, mypy, import-linter
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.installed ## let ruff rewrite what it can
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

# Django 6 needs a newer Python than the rest; where there is none, that is said and nothing fails.
smoke-django6: ## the smoke tests with Django 6 on Python 3.13
	@for python in python3.13 "$${PYENV_ROOT:-$$HOME/.pyenv}"/versions/3.13*/bin/python \
	    "$$(pyenv root 2>/dev/null)"/versions/3.13*/bin/python; do \
	  if "$$python" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 13))' 2>/dev/null; then \
	    $(MAKE) .venv-django6/.installed PYTHON="$$python" && \
	    echo "Django 6 smoke: Django $$(.venv-django6/bin/python -m django --version)" && \
	    env -u DATABASE_URL .venv-django6/bin/python -m pytest -m smoke; \
	    exit $$?; \
	  fi; \
	done; \
	echo "Django 6 smoke: skipped, no python3.13 on this machine"

bench: .venv-bench/.installed ## figures beside the database's own speed: inline, one worker, two workers
	exec .venv-bench/bin/python -m benchmarks $(BENCH_ARGS)

# Arguments: make soak SOAK_ARGS="--executions 200 --seed 7"; see python -m tests.soak --help
soak: $(VENV)/.installed ## a thousand executions under kills, flushes and crashes; then the controls
	exec $(BIN)/python -m tests.soak --guarded $(SOAK_ARGS)

mutants: $(VENV)/.installed ## take out one guard at a time; does a test notice?
	exec $(BIN)/python -m tests.mutants $(MUTANTS_ARGS)

clean: ## delete the environments and caches
	rm -rf .venv .venv-django6 .venv-bench .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis

$(VENV)/.installed: GROUP = dev
.venv-django6/.installed: GROUP = django6
.venv-bench/.installed: GROUP = bench
$(VENV)/.installed .venv-django6/.installed .venv-bench/.installed: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "$(PYTHON) is older than Python 3.11; name another one: make PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip install --quiet --upgrade "pip>=25.1"
	$(@D)/bin/python -m pip install --quiet --group $(GROUP) --editable .
	touch $@

# Everything a developer needs, each target with the virtual environment it needs. `make help` lists them.

PYTHON ?= $(shell for name in python3.14 python3.13 python3.12 python3.11 python3; do \
	command -v $$name >/dev/null 2>&1 && \
	$$name -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && \
	echo $$name && break; done)
VENV := .venv
BIN := $(VENV)/bin
# Made anew whenever the package's metadata changes.
READY := $(VENV)/.ready
# Tests mostly wait, for processes and servers, so there may be more of them at a time than cores.
JOBS ?= $(shell echo $$((3 * $$(getconf _NPROCESSORS_ONLN))))
# Everything that takes minutes: what `make test` runs in a short version or leaves out; or what ARGS names of it.
LONG = $(if $(filter tests/%,$(ARGS)),,tests)

# Where this is set, as in many images, each of the thousands of programs of a run would compile the package for itself.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help demo test drills check pyright bench bench-peers docs pictures schema dev format clean

help: ## Show this list
	@awk 'BEGIN { FS = ":.*## " } /^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(READY) ## Run the demo on a PostgreSQL of its own
	@$(BIN)/pgqueue demo

test: $(READY) ## Run the tests on a real PostgreSQL (arguments: make test ARGS="tests/worker -x")
	@$(BIN)/python -m pytest -n $(JOBS) --dist worksteal $(ARGS)

drills: $(READY) ## Kill, stop and cut off workers and servers under load (PGQUEUE_DRILLS=full: an hour, with all that is long)
	@PGQUEUE_DRILLS=$${PGQUEUE_DRILLS:-usual} $(BIN)/python -m pytest -p no:randomly $(LONG) -m "long or drill" $(ARGS)

check: $(READY) ## Lint, check formatting, types and the direction of imports
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

pyright: $(READY) ## Check the types of a user's program with pyright, too (brings it along, 280 MB)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check basedpyright
	@$(BIN)/basedpyright

bench: $(READY) ## Measure everything, each figure beside a reference (arguments: make bench ARGS="drain --url …")
	@$(BIN)/python -m benchmarks $(ARGS)

bench-peers: $(READY) ## Measure other queues for Python beside pgqueue (arguments: make bench-peers ARGS="pgqueue oban")
	@$(BIN)/python -m benchmarks.peers $(ARGS)

docs: $(READY) ## Build the documentation into site/; a link that leads nowhere is an error
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[docs]'
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo "The site is in site/: open site/index.html"

pictures: $(READY) ## Take the pictures of docs/images anew; needs Chromium and six minutes
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check pillow
	@$(BIN)/python -m tests.dashboard.pictures

schema: $(READY) ## Write migrations/schema.sql anew from the revisions
	@$(BIN)/python -m tests.support.snapshot

dev: $(READY) ## Start a server, migrate and run workers that reload (arguments: make dev ARGS="myapp.tasks")
	@$(BIN)/pgqueue dev $(ARGS)

format: $(READY) ## Put the code into shape
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

clean: ## Remove the virtual environment and everything that was generated
	rm -rf $(VENV) build dist site .cache .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(READY): pyproject.toml
	@python="$(PYTHON)"; \
	if [ -z "$$python" ]; then \
		echo "pgqueue needs Python 3.11 or newer with its venv module; python3 is $$(python3 --version 2>&1)." >&2; \
		echo "Install one (Debian: apt-get install python3 python3-venv) or name it: make PYTHON=/path/to/python" >&2; \
		exit 1; \
	fi; \
	"$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "pgqueue needs Python 3.11 or newer; $$python is $$("$$python" --version 2>&1)." >&2; exit 1; }; \
	echo "Setting up $(VENV) with $$("$$python" --version)"; \
	rm -rf $(VENV) && "$$python" -m venv $(VENV) && \
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[embedded,watch,dev]'
	@touch $@

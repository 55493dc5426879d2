# What one types most; `make` alone lists it. Everything else is in scripts/ and `ixyfwd --help`.
.PHONY: help run quick test lint format bench cover
PYTHON := .venv/bin/python
C_FILES = $(shell git ls-files --cached --others --exclude-standard '*.[ch]')

help:
	@sed -n 's/^\([a-z]*\):.*## /make \1\t/p' $(MAKEFILE_LIST)

run: ## forward between two ports of the model for 3 s
	./scripts/run --duration 3

quick: ## the fast tests
	./scripts/test --quick

test: ## all tests
	./scripts/test

lint: environment ## style and types: ruff, mypy, clang-format
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	@.venv/bin/clang-format --dry-run --Werror --ferror-limit=3 $(C_FILES)

format: environment ## put Python and C into style
	.venv/bin/ruff check --fix .
	.venv/bin/ruff format .
	@.venv/bin/clang-format -i $(C_FILES)

bench: ## what the driver costs, and throughput on the model
	./scripts/bench results cost throughput

cover: environment ## line and branch coverage of the fast tests
	$(PYTHON) -m pytest -q -m "not slow and not alone" --cov --cov-report=term

.PHONY: environment
environment:
	@./scripts/test --version >/dev/null

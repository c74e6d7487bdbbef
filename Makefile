# Python >= 3.11 and make are all it needs; everything goes into .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEMO ?= out/demo
# Two workers share two cores; more threads than cores wait for each other by spinning.
ONE_THREAD := OMP_NUM_THREADS=1

.PHONY: help install demo test fast check format clean
help:
	@echo "make demo    the whole way on made-up heads, a few minutes"
	@echo "make test    every test          make fast   those that take under a minute together"
	@echo "make check   format, lint, types, spelling, import rules"
	@echo "make format  put the code in shape"

# torch first and by its exact version: where the index offers a CPU build of it, that is taken, and
# nothing later has a reason to bring another along.
$(VENV)/installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "wholesight needs Python 3.11 or newer; name one: make PYTHON=python3.12 ..."; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt torch==2.13.0
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

install: $(VENV)/installed

demo: install
	$(BIN)/wholesight demo --out $(DEMO)

test: install
	$(ONE_THREAD) $(BIN)/python -m pytest -n 2

fast: install
	$(ONE_THREAD) $(BIN)/python -m pytest -n 2 -m "not slow"

check: install
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/codespell src tests benchmarks docs recipes suites README.md CONTRIBUTING.md CHANGELOG.md
	$(BIN)/pyright
	$(BIN)/lint-imports

format: install
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf $(VENV) .ruff_cache .pytest_cache .hypothesis .import_linter_cache

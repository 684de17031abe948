# What one does with a clone. Everything is kept in .venv and build; `make clean` takes both away.
#   make tour     the life of a TCP connection, told from a real run (installs estab into .venv first)
#   make test     types, lint, then all tests; those of the core both compiled and interpreted
#   make bench    speed and memory of the core; goodput of each congestion control in virtual time (a quarter of an hour)
#   make bench-wire  estab beside other stacks on this machine, through TUN devices in namespaces (root)
#   make docs     the documentation as pages in site/
#   make build    source distribution and wheel in dist/, tried in a fresh environment
# PYTHON=... chooses the interpreter, ESTAB_COMPILE=0 leaves the core interpreted, 1 insists on compiling it. For all but
# bench and build the C compiler optimizes little (ESTAB_OPTIMIZE=1): that halves its time, and costs a tenth of the speed.

.DEFAULT_GOAL := help
.PHONY: help tour test lint bench bench-wire docs build clean
.NOTPARALLEL:
.DELETE_ON_ERROR:

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
PARTS := $(shell find src/estab -name __pycache__ -prune -o \( -type d -o -name '*.py' \) -print) setup.py pyproject.toml
# The tests that run against the interpreted files as well: all that touch the core.
CORE_TESTS := $(wildcard tests/wire tests/tcp tests/host tests/serve tests/lab)
PYTEST := $(BIN)/python -m pytest --numprocesses=auto --maxprocesses=4 --dist=worksteal

help:
	@sed -n 's/^#   make/  make/p' Makefile

$(VENV)/made:
	@python=$$(sh tools/find-python) || exit 1; \
	echo "estab: making $(VENV) with $$($$python --version)"; \
	rm -rf $(VENV) && $$python -m venv $(VENV) && touch $@

$(VENV)/installed: $(VENV)/made $(PARTS)
	@echo "estab: installing into $(VENV); if the core changed, compiling it takes some minutes"
	@ESTAB_OPTIMIZE=$${ESTAB_OPTIMIZE:-1} $(PIP) install .
	@$(BIN)/python -c "from estab._build import core_line; print(core_line())"
	@touch $@

$(VENV)/optimized: $(VENV)/made $(PARTS)
	@echo "estab: installing into $(VENV), optimized; if the core changed, compiling it takes some minutes"
	@ESTAB_OPTIMIZE=3 $(PIP) install .
	@$(BIN)/python -c "from estab._build import core_line; print(core_line())"
	@touch $(VENV)/installed $@

$(VENV)/test-tools: $(VENV)/made pyproject.toml
	@echo "estab: installing what the tests need into $(VENV)"
	@$(BIN)/python tools/extras.py test | $(PIP) install -r /dev/stdin
	@touch $@

tour: $(VENV)/installed
	@$(BIN)/estab tour

lint: $(VENV)/test-tools
	$(BIN)/ruff check --quiet .
	$(BIN)/mypy --no-error-summary

test: lint $(VENV)/installed
	ESTAB_CORE=installed $(PYTEST)
	ESTAB_CORE=interpreted PYTHONPATH=src PYTHONPYCACHEPREFIX=build/pycache $(PYTEST) $(CORE_TESTS)

bench: $(VENV)/optimized
	@$(BIN)/python bench/segments.py
	@$(BIN)/python bench/memory.py
	@$(BIN)/python -m bench.gigabyte
	@$(BIN)/python -m bench.goodput --page docs/goodput.md

bench-wire: $(VENV)/optimized
	@$(BIN)/python bench/stacks/race.py $(RACE)

docs: $(VENV)/made
	@$(BIN)/python tools/extras.py docs | $(PIP) install -r /dev/stdin
	@$(BIN)/zensical build --clean --strict
	@echo "estab: open site/index.html"

build: $(VENV)/test-tools
	@echo "estab: building the source distribution, and the wheel from it; compiling takes some minutes (build/log)"
	@rm -rf dist build/fresh && mkdir -p build
	@$(BIN)/python -m build --outdir dist . >build/log 2>&1 || { tail -n 40 build/log; exit 1; }
	@$(BIN)/python -m venv build/fresh
	@build/fresh/bin/python -m pip --disable-pip-version-check --quiet install dist/*.whl
	@ls dist
	@cd build/fresh && bin/estab --version && bin/estab tour > tour.txt && head -n 12 tour.txt
	@echo "..."

clean:
	rm -rf $(VENV) build dist site .mypy_cache .pytest_cache .ruff_cache .hypothesis src/*.egg-info

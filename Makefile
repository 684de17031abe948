# What one does with a clone. Everything is kept in .venv and build; `make clean` takes both away.
#   make tour     the life of a TCP connection, told from a real run; some seconds from a clone, for nothing is compiled
#   make compile  estab in .venv with its core compiled: some minutes, and the engine runs several times as fast
#   make test     types, lint, then all tests; those of the core both compiled and interpreted
#   make test-pythons  the lab's tests on each other CPython that is installed here (PATH, pyenv)
#   make fuzz SECONDS=600  mutated frames, calls and times for a whole host, on the core as it is installed; a failing input stays
#   make bench    speed and memory of the core and the lab; goodput of each congestion control in virtual time (20 minutes)
#   make doctor-score  hundreds of labelled scenarios of the lab, and how often the doctor names the cause
#   make bench-wire  estab beside other stacks on this machine, through TUN devices in namespaces (root)
#   make pictures  the pictures of the documentation, from its own examples
#   make programs  what programs do in the lab, tried again, with a few hundred packages: the table of docs/programs.md (a quarter of an hour)
#   make docs     the documentation as pages in site/, with the lab at site/lab if npm is there
#   make web      the report page's own text, from web/ into src/estab/report/page.html
#   make lab      the lab's page for a browser in build/lab, for any static host: Pyodide, estab, and its core compiled to WebAssembly
#   make build    source distribution, compiled wheel and pure wheel in dist/, each wheel tried in a fresh environment
# PYTHON=... chooses the interpreter. `make test` compiles where there is a C compiler: ESTAB_COMPILE=0 leaves the core
# interpreted, 1 insists on compiling it. For all but bench and build the C compiler optimizes little (ESTAB_OPTIMIZE=1):
# that halves its time, and costs a tenth of the speed.

.DEFAULT_GOAL := help
.PHONY: help tour compile test test-pythons fuzz lint bench bench-wire programs docs pictures web build clean
.NOTPARALLEL:
.DELETE_ON_ERROR:

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
PARTS := $(shell find src/estab -name __pycache__ -prune -o \( -type d -o -name '*.py' \) -print) setup.py pyproject.toml \
	src/estab/report/page.html
WEB := $(shell find web -type f) tools/build_page.py
# The tests that run against the interpreted files as well: all that touch the core.
CORE_TESTS := $(wildcard tests/wire tests/tcp tests/host tests/serve tests/lab)
PYTEST := $(BIN)/python -m pytest --numprocesses=auto --maxprocesses=4 --dist=worksteal

help:
	@sed -n 's/^#   make/  make/p' Makefile

$(VENV)/made:
	@python=$$(sh tools/find-python) || exit 1; \
	echo "estab: making $(VENV) with $$($$python --version)"; \
	rm -rf $(VENV) && $$python -m venv $(VENV) && touch $@

# Three stamps for what is in .venv: estab as it is (installed), compiled where that can be (compiled), optimized (optimized).
# A later one stands for those before it.
$(VENV)/installed: $(VENV)/made $(PARTS)
	@ESTAB_COMPILE=0 $(PIP) install .
	@touch $@

$(VENV)/compiled: $(VENV)/made $(PARTS)
	@echo "estab: installing into $(VENV); if the core changed, compiling it takes some minutes"
	@ESTAB_COMPILE=$${ESTAB_COMPILE:-auto} ESTAB_OPTIMIZE=$${ESTAB_OPTIMIZE:-1} $(PIP) install .
	@$(BIN)/python -m estab._build
	@touch $(VENV)/installed $@

$(VENV)/optimized: $(VENV)/made $(PARTS)
	@echo "estab: installing into $(VENV), optimized; if the core changed, compiling it takes some minutes"
	@ESTAB_COMPILE=$${ESTAB_COMPILE:-1} ESTAB_OPTIMIZE=3 $(PIP) install .
	@$(BIN)/python -m estab._build
	@touch $(VENV)/installed $(VENV)/compiled $@

$(VENV)/test-tools: $(VENV)/made pyproject.toml
	@echo "estab: installing what the tests need into $(VENV)"
	@$(BIN)/python tools/extras.py test | $(PIP) install -r /dev/stdin
	@touch $@

tour: $(VENV)/installed
	@$(BIN)/estab tour
	@echo "estab is in $(BIN). Its core runs as it was last installed; 'make compile' compiles it, in some minutes."

compile: $(VENV)/compiled

src/estab/report/page.html: $(WEB) | $(VENV)/made
	@$(BIN)/python tools/build_page.py

web: src/estab/report/page.html

.PHONY: lab
lab: $(VENV)/installed
	@$(BIN)/python tools/build_lab.py

lint: $(VENV)/test-tools
	$(BIN)/ruff check --quiet .
	$(BIN)/mypy --no-error-summary

# On the core as it is installed; then, if that is compiled, those of the core on the interpreted files too.
test: lint $(VENV)/compiled build/programs/ci/bin/tried
	ESTAB_CORE=installed $(PYTEST)
	if $(BIN)/estab --version | grep -q 'core: compiled'; then \
		ESTAB_CORE=interpreted PYTHONPATH=src PYTHONPYCACHEPREFIX=build/pycache $(PYTEST) $(CORE_TESTS); fi

fuzz: $(VENV)/compiled $(VENV)/test-tools
	@$(BIN)/python -m tests.fuzz $(if $(INPUTS),--inputs $(INPUTS) --seed $(or $(SEED),1),--seconds $(or $(SECONDS),120))

test-pythons: $(VENV)/made
	@$(BIN)/python tools/try_pythons.py

bench: $(VENV)/optimized
	@$(BIN)/python bench/segments.py
	@$(BIN)/python bench/connections.py
	@$(BIN)/python bench/memory.py
	@$(BIN)/python bench/lab.py --rounds 3
	@$(BIN)/python -m bench.gigabyte
	@$(BIN)/python -m bench.goodput --page docs/goodput.md

doctor-score: $(VENV)/installed
	@$(BIN)/python -m bench.doctor.score --seeds 12 --page docs/doctor.md

bench-wire: $(VENV)/optimized
	@$(BIN)/python bench/stacks/race.py $(RACE)

pictures: $(VENV)/installed
	@$(BIN)/python tools/ladder_picture.py docs/observing.md docs/observing.svg
	@$(BIN)/python tools/ladder_picture.py README.md docs/first-run.svg
	@$(BIN)/python tools/extras.py test | $(PIP) install -r /dev/stdin
	@$(BIN)/python tools/shots.py
	@$(BIN)/python tools/build_lab.py
	@$(BIN)/python tools/lab_shots.py

# The packages of the table of programs stand in environments of their own: all, and those that the tests try.
build/programs/%/bin/tried: tools/programs/requirements-%.txt
	@python=$$(sh tools/find-python) || exit 1; \
	echo "estab: installing the programs of the table ($*) into build/programs/$*"; \
	rm -rf build/programs/$* && $$python -m venv build/programs/$* && \
	build/programs/$*/bin/python -m pip --disable-pip-version-check --quiet install --no-deps -r $< && touch $@

programs: build/programs/all/bin/tried
	@PYTHONPATH=src build/programs/all/bin/python -m tools.programs --page docs/programs.md

# With the lab at site/lab, if npm is there; the docs build says so if it is not, and the pages name what would run.
docs: $(VENV)/installed
	@$(BIN)/python tools/extras.py docs | $(PIP) install -r /dev/stdin
	@$(BIN)/zensical build --clean --strict
	@$(BIN)/python tools/lab_in_docs.py
	@echo "estab: open site/index.html"

build: $(VENV)/test-tools
	@echo "estab: building the source distribution and, from it, both wheels; compiling takes some minutes (build/log)"
	@rm -rf dist && mkdir -p build
	@{ $(BIN)/python -m build --sdist --outdir dist . && \
		ESTAB_COMPILE=0 $(BIN)/python -m pip wheel --no-deps --wheel-dir dist dist/*.tar.gz && \
		ESTAB_COMPILE=$${ESTAB_COMPILE:-auto} $(BIN)/python -m pip wheel --no-deps --wheel-dir dist dist/*.tar.gz; \
	} >build/log 2>&1 || { tail -n 40 build/log; exit 1; }
	@ls dist
	@for wheel in dist/*.whl; do $(BIN)/python tools/try_wheel.py $$wheel || exit 1; done

clean:
	rm -rf $(VENV) build dist site .mypy_cache .pytest_cache .ruff_cache .hypothesis src/*.egg-info

# Two commands do everything from a bare clone: `make demo` and `make test`.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/pip install --disable-pip-version-check

BRIDGES := .venv-bridges

.PHONY: demo test test-bridges check docs clean

# The main job: the grid probe on the shipped pocket model, with and without BaPA.
demo: $(VENV)/.installed
	$(BIN)/wheresight probe --model pocket --source pocket --items 400 \
		--intervention none --intervention bapa --out demo

# Threads that wait for each other spin only briefly: beside other work, a test that trains with two
# threads would take many minutes instead of one.
test: $(VENV)/.installed-dev
	$(BIN)/ruff check src tests benchmarks docs studies
	$(BIN)/mypy
	OMP_NUM_THREADS=1 GOMP_SPINCOUNT=1000 $(BIN)/pytest -n auto --maxprocesses 4 --dist loadfile
	$(MAKE) test-bridges

# The bridges to lmms-eval and Inspect, against the real ones: they bring many packages, so they have
# an environment of their own.
test-bridges: $(BRIDGES)/.installed
	OMP_NUM_THREADS=1 GOMP_SPINCOUNT=1000 $(BRIDGES)/bin/python -m pytest -n auto --maxprocesses 4 --dist loadfile tests/bridges

check: test

# The pages of docs/, as a site in docs/_build; a warning is an error.
docs: $(VENV)/.installed-docs
	$(BIN)/python docs/generate.py --check
	$(BIN)/sphinx-build -W -q -b html docs docs/_build
	@echo "Open docs/_build/index.html"

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit("wheresight needs Python 3.11 or newer; this is " + sys.version.split()[0] + ". Name another with: make PYTHON=python3.12 demo") if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: $(VENV)/bin/python pyproject.toml constraints.txt
	@echo "Installing wheresight into $(VENV) (two to five minutes) ..."
	$(PIP) --constraint constraints.txt --editable .
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(PIP) --constraint constraints.txt --editable '.[dev]'
	@touch $@

# lmms-eval asks for torchvision, which nothing here needs; one that was built for another torch than
# the one at hand breaks transformers, so that one goes.
$(BRIDGES)/.installed: pyproject.toml constraints-bridges.txt
	@echo "Installing lmms-eval and Inspect into $(BRIDGES) (some minutes) ..."
	$(PYTHON) -m venv $(BRIDGES)
	$(BRIDGES)/bin/pip install --disable-pip-version-check \
		--constraint constraints-bridges.txt --editable '.[lmms-eval,inspect]' pytest pytest-xdist
	@$(BRIDGES)/bin/python -c "import torchvision" 2>/dev/null || $(BRIDGES)/bin/pip uninstall --quiet --yes torchvision
	@touch $@

$(VENV)/.installed-docs: $(VENV)/.installed
	$(PIP) --constraint constraints.txt --editable '.[docs]'
	@touch $@

clean:
	rm -rf $(VENV) $(BRIDGES) demo docs/_build build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis

# Two commands do everything on a fresh machine with Python 3.11 or newer and make:
#   make reproduce   README's rows again on the patients that come with the kit, then every notebook
#   make test        all tests: pytest on the package, nbval on the notebooks
# For contributors: make lint, make coverage, make night, make book (see CONTRIBUTING.md).

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
NOTEBOOKS := $(sort $(wildcard notebooks/[0-9]*.ipynb))
SOLUTIONS := $(sort $(wildcard notebooks/solutions/[0-9]*.ipynb))

# Tests in several processes of one thread each: imports and small steps, which most of their time
# goes into, gain little from a second thread. `make test WORKERS=8` on a larger machine.
WORKERS ?= 2
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS)

.PHONY: install reproduce test test-package test-notebooks lint coverage night book clean

install: $(INSTALLED)

$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev,browser]"
	touch $@

# Goes on where it stopped; `make clean` before it starts anew. Its jobs call `oarfuse` and `python`.
reproduce: $(INSTALLED)
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/snakemake --snakefile workflow/Snakefile

test: lint test-package test-notebooks

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy oarfuse reports workflow benchmarks data_scripts tests

test-package: $(INSTALLED)
	$(PYTEST) --dist loadfile tests

# --nbval-cell-timeout: without it nbval waits for ever when a kernel is killed.
test-notebooks: $(INSTALLED)
	$(PYTEST) --dist loadfile --nbval-lax --nbval-current-env --nbval-cell-timeout=300 \
		-p no:cacheprovider $(NOTEBOOKS) $(SOLUTIONS)

# Fails below the share that pyproject.toml asks for. Not part of `make test`: tracing slows it down.
coverage: $(INSTALLED)
	$(BIN)/python -m pytest tests --cov --cov-report=term --cov-report=html:build/coverage

# Each of train, prepare and evaluate is killed 20 times instead of 3.
night: $(INSTALLED)
	OARFUSE_NIGHT=1 $(BIN)/python -m pytest tests/test_interruption.py

# The book, from the committed notebooks and the docstrings, into build/book: for any static host.
book: $(INSTALLED)
	$(BIN)/python -m reports.book --output build/book

clean:
	rm -rf build .snakemake

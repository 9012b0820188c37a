# make demo       a sampler comparison on handwritten digits, from nothing to the figure
# make test       lint, types and tests
# make docs       the documentation site, build/site/index.html
# The first two make a fresh virtual environment with the pinned versions, of the newest Python from 3.11 to 3.14 that
# works here; PYTHON chooses another.
# make check      lint, types and tests with the tools of the active environment, or of BIN=.venv/bin/
# make coverage   tests with line coverage, likewise

PYTHON ?= $(or $(firstword $(foreach version,14 13 12 11,$(call working,python3.$(version)))),$(error \
    Python 3.11 to 3.14 with its venv module is needed; PYTHON=/path/to/python names one))
# A command of that name may exist and not work: pyenv's for a version that is not chosen, Debian's without python3-venv.
working = $(shell $(1) -c 'import ensurepip, venv' 2>/dev/null && echo $(1))
PIP_INSTALL = .venv/bin/pip install --quiet --disable-pip-version-check --constraint constraints.txt
PYTEST = $(BIN)python -m pytest --numprocesses logical --dist loadfile --no-loadscope-reorder

.PHONY: demo test docs check lint types coverage venv clean

demo: EXTRAS =
demo: venv
	.venv/bin/decomp run experiments/digits.yaml

test: EXTRAS = [test]
test: venv
	$(MAKE) --no-print-directory check BIN=.venv/bin/

docs:
	test -x .venv/bin/python || $(PYTHON) -m venv .venv
	$(PIP_INSTALL) --editable .[docs]
	NO_MKDOCS_2_WARNING=1 .venv/bin/python -m mkdocs build

venv:
	rm -rf .venv
	$(PYTHON) -m venv .venv
	$(PIP_INSTALL) --editable .$(EXTRAS)

check: lint types
	$(PYTEST)

lint:
	$(BIN)ruff check
	$(BIN)ruff format --check

types:
	mkdir -p build/types/decomp
	for layer in platform actors experiments; do ln -sfn $(CURDIR)/$$layer build/types/decomp/$$layer; done
	cd build/types && MYPYPATH=. $(if $(BIN),$(CURDIR)/$(BIN))mypy --config-file $(CURDIR)/pyproject.toml -p decomp

coverage:
	$(PYTEST) --cov --cov-report=

clean:
	rm -rf .venv build

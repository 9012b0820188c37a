# make demo   a sampler comparison on handwritten digits, from nothing to the figure
# make test   lint, types and tests
# make docs   the documentation site, build/site/index.html
# The first two make a fresh virtual environment with the pinned versions; PYTHON chooses the interpreter.

PYTHON ?= python3.11
PIP_INSTALL = .venv/bin/pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: demo test docs check venv clean

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

# Lint, types and tests with the tools of an environment that exists already.
check:
	$(BIN)ruff check
	$(BIN)ruff format --check
	mkdir -p build/types/decomp
	for layer in platform actors experiments; do ln -sfn $(CURDIR)/$$layer build/types/decomp/$$layer; done
	cd build/types && MYPYPATH=. $(if $(BIN),$(CURDIR)/$(BIN))mypy --config-file $(CURDIR)/pyproject.toml -p decomp
	$(BIN)python -m pytest --numprocesses auto --dist loadfile --no-loadscope-reorder

clean:
	rm -rf .venv build

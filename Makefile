# Every target sets up what it needs and nothing more; `make` alone lists them.
# An environment for each need shares .venv; a stamp .venv/.ready-EXTRA says that the extra is installed and up to date.

FIND    = -c 'import sys; sys.version_info >= (3, 12) and print(sys.executable)'
PYTHON ?= $(firstword $(shell for p in python3 python3.14 python3.13 python3.12; do $$p $(FIND) 2>/dev/null; done))
BIN     = .venv/bin
JAX     = 0.11.2

# A strict editable install links each file into build/: a new or removed file changes its folder's time, and a deleted
# build/ has no links left. Either makes the stamps old.
DIRS    = $(shell find ppl inference models -type d -not -name __pycache__)
RELINK  = $(if $(wildcard build/__editable__*),,FORCE)
INPUTS  = pyproject.toml constraints.txt $(DIRS) $(RELINK)

# Every process of the tests imports the library: what Python compiled is kept, even where the shell says not to.
export PYTHONDONTWRITEBYTECODE :=

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:
.PHONY: help setup demo test slow check format law mutants evidence bench bench-quick docs constraints FORCE

help:             ## list the targets
	@sed -n 's/^\([a-z-]*\):[^#]*## */\1\t/p' Makefile | expand -t 14

setup: .venv/.ready-dev   ## .venv with everything that the tests need

# The .venv may be missing, half made, older than Python 3.12, or made by uv (which leaves pip out): then it is made anew.
.venv/.ready-%: $(INPUTS)
	@test -n "$(PYTHON)" || test -x $(BIN)/python || \
	  { echo "lawful needs Python 3.12 or newer and found none; run: make setup PYTHON=python3.13"; exit 1; }
	@if command -v uv >/dev/null; then \
	  test -n "$$($(BIN)/python $(FIND) 2>/dev/null)" || { rm -rf .venv && uv venv -q --python "$(PYTHON)" .venv; } && \
	  uv pip install -q --python $(BIN)/python --reinstall-package lawful -c constraints.txt -e '.[$*]'; \
	else \
	  $(BIN)/python -c 'import sys, pip; sys.exit(sys.version_info < (3, 12))' 2>/dev/null || \
	    "$(PYTHON)" -m venv --clear .venv && \
	  $(BIN)/python -m pip install -q -c constraints.txt -e '.[$*]' -C editable_mode=strict; \
	fi
	@touch $@

demo: .venv/.ready-demo   ## the main jobs on real data; writes into out/
	$(BIN)/python examples/nile.py
	$(BIN)/python examples/churn.py
	$(BIN)/python examples/egsingle.py

test: .venv/.ready-dev    ## the test suite without the tests marked slow
	$(BIN)/python -m pytest -n 2 --dist loadfile

slow: .venv/.ready-dev    ## the tests marked slow, with types and shapes checked at run time
	LAWFUL_CHECK_TYPES=1 $(BIN)/python -m pytest -m slow

check: .venv/.ready-dev   ## lint, format and types
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy -p lawful

format: .venv/.ready-dev  ## what `make check` would complain about and a tool can mend
	$(BIN)/ruff check --fix . ; $(BIN)/ruff format .

law: .venv/.ready-dev     ## every registered transformer on random finite programs, exactly
	$(BIN)/python -m lawful.inference.check

mutants: .venv/.ready-dev ## planted faults, each of which a check must find
	$(BIN)/python -m pytest -m mutants $$(grep -rlF --include='*.py' mark.mutants tests)

evidence: .venv/.ready-dev ## the same, written into docs/evidence with a fingerprint of the code
	$(BIN)/python -m tests.mutants docs/evidence/mutants.json

bench: .venv/.ready-dev   ## side by side with peers; make bench WORKLOADS="W1 W3" runs a part
	$(BIN)/python benchmarks/run.py $(WORKLOADS)

bench-quick: .venv/.ready-dev  ## the same at small sizes, about two minutes
	$(BIN)/python benchmarks/run.py --quick $(WORKLOADS)

docs: .venv/.ready-docs   ## the documentation into docs/_build/html; warnings are errors
	$(BIN)/python -m sphinx -E -W --keep-going -b html docs docs/_build/html

# pip freeze in an environment of its own; JAX stays where the whole suite was run last.
constraints:      ## refresh constraints.txt
	"$(PYTHON)" -m venv --clear .tool/constraints
	.tool/constraints/bin/python -m pip install -q 'jax==$(JAX)' 'jaxlib==$(JAX)' -e '.[dev,demo,docs,pgmpy]'
	.tool/constraints/bin/python -m pip freeze --exclude-editable > constraints.txt
	rm -rf .tool/constraints

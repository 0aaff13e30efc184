# Every target sets up what it needs: only Python 3.10 or later and make have to be there.
#
#   make demo      find the circuit of variable binding in the embedded model   -> runs/demo
#   make demo-lm   the same in a real language model (downloads 93 MB once)     -> runs/demo-lm
#   make test      the fast tests         make slow      the others
#   make check     lint, format, types, file sizes
#   make bench     every method against known circuits   make bench-quick   a part of it
#   make fmt       mend lint and format   make figures   remake the gallery
#   make clean     delete caches and builds; .venv and runs/ stay
#
# PYTHON       the Python to make the environment with (default python3)
# VENV         where to make it (default .venv)
# TORCH_INDEX  an index to take torch from. On Linux, PyPI's torch brings gigabytes of CUDA;
#              TORCH_INDEX=https://download.pytorch.org/whl/cpu leaves them out.

PYTHON ?= python3
VENV ?= .venv
TORCH_INDEX ?=

BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
SOURCES := circuitfind desiderata tasks scripts tests

.PHONY: help install smollm2 demo demo-lm test slow bench bench-quick check fmt figures clean

help:
	@sed -n -e '/^#/!q' -e 's/^# \{0,1\}//p' Makefile

install: $(STAMP)

# A venv without pip is a failed one, so pip is the target, not python.
$(BIN)/pip:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { \
	  echo "circuitfind needs Python 3.10 or later; $(PYTHON) is: $$($(PYTHON) --version 2>&1)." >&2; \
	  echo "Name another one: make PYTHON=python3.12 ..." >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { \
	  echo "'$(PYTHON) -m venv $(VENV)' failed. On Debian and Ubuntu the module is a package" >&2; \
	  echo "of its own: sudo apt install python3-venv, then call make again." >&2; exit 1; }

# torch goes first, in a call of its own: TORCH_INDEX is for torch, not for everything else.
$(STAMP): pyproject.toml constraints.txt | $(BIN)/pip
	$(BIN)/python -m pip install -c constraints.txt \
	  $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX)) torch
	$(BIN)/python -m pip install -c constraints.txt -e '.[smollm2,test,dev]'
	@touch $@

# Returns at once when the model is in the cache.
smollm2: $(STAMP)
	$(BIN)/python -m circuitfind.models.smollm2

demo: $(STAMP)
	$(BIN)/circuitfind discover variable_binding --model binder --out runs/demo --overwrite

demo-lm: smollm2
	$(BIN)/circuitfind discover ioi --model smollm2-135m --out runs/demo-lm --overwrite

# Two workers on two cores: each has one thread, and first takes files that stand together, so that
# what tests of a file share is made once.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal

test: $(STAMP)
	$(PYTEST) -m "not slow"

slow: $(STAMP)
	$(PYTEST) -m slow

bench: $(STAMP)
	$(BIN)/circuitfind bench truth --out runs/bench

bench-quick: $(STAMP)
	$(BIN)/circuitfind bench truth --part quick --out runs/bench-quick

check: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright --pythonpath $(BIN)/python
	@echo "lines per file (look twice at 300):"
	@find $(wildcard $(SOURCES)) -name '*.py' -exec wc -l {} + | sort -rn

fmt: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

figures: $(STAMP)
	$(BIN)/python -m scripts.make_figures

clean:
	rm -rf build dist .ruff_cache .pytest_cache .hypothesis
	find $(wildcard $(SOURCES)) -name __pycache__ -type d -prune -exec rm -rf {} +

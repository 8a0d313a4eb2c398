# Each target makes its own environment in .venv, once: the stamp's name carries a checksum of
# pyproject.toml and constraints.txt, so an unchanged environment costs nothing and a changed one
# is brought up to date.
#
#   PYTHON=python3.12         the interpreter a new .venv is made with
#   CONSTRAINTS=/dev/null     newest versions allowed by pyproject.toml, not the pinned ones
#   TORCH_FLAGS="--index-url https://download.pytorch.org/whl/cpu"
#                             the CPU build, on systems where the default build is another one
#   JOBS=2                    processes of the test run

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:

PYTHON ?= python3
CONSTRAINTS ?= constraints.txt
TORCH ?= torch==2.13.0
TORCH_FLAGS ?=
JOBS ?= 2

KEY := $(shell cat pyproject.toml $(CONSTRAINTS) Makefile | cksum | cut -d' ' -f1)
PY := .venv/bin/python
PIP := $(PY) -m pip --disable-pip-version-check install --quiet
READY := .venv/.ready-$(KEY)

# One thread per process: the work is split over processes, and sums come out the same everywhere.
export OMP_NUM_THREADS ?= 1
export MKL_NUM_THREADS ?= 1
export OPENBLAS_NUM_THREADS ?= 1
export MPLBACKEND ?= Agg

.PHONY: help demo test lint format docs bench clean

help:
	@echo "make demo    fit a model on a table with pictures, print its summary, draw its plots"
	@echo "make test    tests, doctests and vignettes"
	@echo "make lint    ruff (rules and format) and mypy"
	@echo "make format  let ruff repair what it can"
	@echo "make docs    the documentation, in docs/_build/html"
	@echo "make bench   benchmarks that are not done yet; ONLY=name for one of them"
	@echo "make clean   remove .venv and everything that is built"

demo: $(READY)-demo
	$(PY) -m semistruct.demo

test: $(READY)-dev
	$(PY) -m pytest -q -n $(JOBS) --dist loadfile --durations 10

lint: $(READY)-dev
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy

format: $(READY)-dev
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .

docs: $(READY)-docs
	$(PY) -m sphinx -W --keep-going -q -b html docs docs/_build/html
	$(PY) docs/_check_links.py docs/_build/html
	@echo "open docs/_build/html/index.html"

bench: $(READY)-bench
	$(PY) -m benchmarks $(ONLY)

clean:
	rm -rf .venv build dist demo-output docs/_build docs/reference docs/vignettes docs/public.md
	rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(PY):
	$(PYTHON) -m venv .venv

# torch goes first and by itself, so that no later requirement can choose another build of it.
$(READY)-%: | $(PY)
	$(PIP) $(TORCH_FLAGS) "$(TORCH)"
	$(PIP) --constraint $(CONSTRAINTS) --editable ".[$*]"
	@rm -f .venv/.ready-*-$*
	@touch $@

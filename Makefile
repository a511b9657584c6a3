# Gristmill from a bare clone, in one environment (.venv) that is built once and kept:
#
#   make demo     curate the text on this computer, train a tokenizer and a small Nemotron on it, write the report
#   make test     everything that has to pass: linters, types, import contracts, the test suite
#   make check    the linters, types and import contracts alone
#   make env      the environment alone
#
# Wanted on the machine: Python 3.11 or newer with venv and headers, and a C++ compiler. PYTHON=... names another Python.

SHELL := /bin/bash
PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$p; break; }; done)

BIN := .venv/bin
# The environment is stamped by what it was made from, so a second call is instant and a changed pin rebuilds it.
HASH := $(shell { cat pyproject.toml; echo "$(CURDIR)"; } | { sha256sum 2>/dev/null || shasum -a 256; } | cut -c1-16)
STAMP_RUN := .venv/.gristmill-run-$(HASH)
STAMP_DEV := .venv/.gristmill-dev-$(HASH)
# The development environment holds all that a run needs.
ENV := $(if $(wildcard $(STAMP_DEV)),$(STAMP_DEV),$(STAMP_RUN))
MODEL := models/lid.176.ftz
# The second Triton that the kernels are compiled with in the tests, beside the pinned one; Triton is for Linux.
TRITON_36 := $(if $(filter Linux,$(shell uname -s)),.venv/triton-3.6/triton)

.PHONY: demo test check env model
.DELETE_ON_ERROR:

demo: $(ENV) $(MODEL)
	@echo "== curating the text on this computer: pipeline.yaml"
	$(BIN)/gristmill run pipeline.yaml
	@echo "== training a small Nemotron on the shards: trainer/configs/debug.yaml"
	$(BIN)/gristmill train run trainer/configs/debug.yaml
	@echo "== what came out"
	@$(BIN)/gristmill report

test: check $(MODEL) $(TRITON_36)
	$(BIN)/python -m pytest

check: $(STAMP_DEV)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

env: $(ENV)

model: $(MODEL)

$(MODEL): | $(ENV)
	$(BIN)/python -m pipeline.models.fetch $@

.venv/triton-3.6/triton: | $(STAMP_DEV)
	$(BIN)/python -m pip install --quiet --no-deps --target .venv/triton-3.6 triton==3.6.0

$(STAMP_RUN):
	$(call install,.,$@)

$(STAMP_DEV):
	$(call install,.[dev],$@)

# install(what to install, stamp): the environment, after one look at what building it takes.
define install
	@[ -n "$(PYTHON)" ] || { echo "make: no Python 3.11 or newer was found: install one, or name it with PYTHON=/path/to/python3.11" >&2; exit 2; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
		{ echo "make: $(PYTHON) is not Python 3.11 or newer: install one, or name it with PYTHON=/path/to/python3.11" >&2; exit 2; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || \
		{ echo "make: $(PYTHON) cannot make virtual environments: install its venv module (Debian: apt-get install python3-venv)" >&2; exit 2; }
	@$(PYTHON) -c 'import os, sys, sysconfig; sys.exit(not os.path.exists(sysconfig.get_path("include") + "/Python.h"))' || \
		{ echo "make: $(PYTHON) has no headers (Python.h), which fasttext and kenlm compile against: install them (Debian: apt-get install python3-dev)" >&2; exit 2; }
	@command -v $${CXX:-g++} >/dev/null || \
		{ echo "make: no C++ compiler ($${CXX:-g++}), which fasttext and kenlm need: install one (Debian: apt-get install g++)" >&2; exit 2; }
	@echo "== the environment: .venv, about 3 GB and, the first time, a few minutes (two packages compile C++)"
	[ -x $(BIN)/python ] || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -e '$(1)'
	@rm -f .venv/.gristmill-*
	@touch $(2)
endef

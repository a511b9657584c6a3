# Gristmill from a bare clone, in one environment (.venv) that is built once and kept:
#
#   make demo     curate the text on this computer, train a tokenizer and a small Nemotron on it, write the report
#   make test     everything that has to pass: linters, types, import contracts, the test suite
#   make quick    a look at every layer in a minute and a half: the tests that are not marked slow
#   make soak     the same attacks at length: a thousand kills, 12,000 damaged files, a million documents
#   make check    the linters, types and import contracts alone
#   make env      the environment alone
#   make lock     the lock files in requirements/ anew, from the ranges of pyproject.toml
#
# Wanted on the machine: Python 3.11 or newer with venv. With a C++ compiler and Python's headers the reference engines
# (fasttext, kenlm, datasketch) are installed too; nothing that the demo does needs them. PYTHON=... names another Python.

SHELL := /bin/bash
PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$p; break; }; done)

BIN := .venv/bin
# What compiling fasttext and kenlm takes: empty where it is not there.
REFERENCE := $(shell command -v $${CXX:-g++} >/dev/null && $(PYTHON) -c 'import os, sys, sysconfig; \
	sys.exit(not os.path.exists(sysconfig.get_path("include") + "/Python.h"))' 2>/dev/null && echo reference)
# The lock files are for one Python on one platform; elsewhere pip takes the newest versions of pyproject.toml's ranges.
LOCKED := $(shell $(PYTHON) -c 'import sys, sysconfig; \
	sys.exit((*sys.version_info[:2], sysconfig.get_platform()) != (3, 11, "linux-x86_64"))' 2>/dev/null && echo locked)
# The environment is stamped by what it was made from, so a second call is instant and a changed pin rebuilds it.
HASH := $(shell { cat pyproject.toml requirements/*.txt; echo "$(CURDIR) $(REFERENCE) $(LOCKED)"; } | \
	{ sha256sum 2>/dev/null || shasum -a 256; } | cut -c1-16)
STAMP_RUN := .venv/.gristmill-run-$(HASH)
STAMP_DEV := .venv/.gristmill-dev-$(HASH)
# The development environment holds all that a run needs.
ENV := $(if $(wildcard $(STAMP_DEV)),$(STAMP_DEV),$(STAMP_RUN))
MODEL := models/lid.176.ftz
# The second Triton that the kernels are compiled with in the tests, beside the pinned one; Triton is for Linux.
TRITON_36 := $(if $(filter Linux,$(shell uname -s)),.venv/triton-3.6/triton)

# As many tests at once as there are cores, and 4 GB of memory for each.
CORES := $(shell getconf _NPROCESSORS_ONLN 2>/dev/null || echo 1)
GIGABYTES := $(shell awk '/^MemTotal/ {print int($$2 / 1000000)}' /proc/meminfo 2>/dev/null || echo 8)
WORKERS ?= $(shell n=$$(($(GIGABYTES) / 4)); [ $$n -lt $(CORES) ] || n=$(CORES); [ $$n -gt 0 ] || n=1; echo $$n)
# A file's tests stay in one worker, which makes what they share once; tests/conftest.py orders the files.
PYTEST := OMP_WAIT_POLICY=passive $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder

.PHONY: demo test quick soak check env model lock
.DELETE_ON_ERROR:

demo: $(ENV) $(MODEL)
	@echo "== curating the text on this computer: pipeline.yaml"
	$(BIN)/gristmill run pipeline.yaml
	@echo "== training a small Nemotron on the shards: trainer/configs/debug.yaml"
	$(BIN)/gristmill train run trainer/configs/debug.yaml
	@echo "== what came out"
	@$(BIN)/gristmill report

test: check $(MODEL) $(TRITON_36)
	$(PYTEST)

quick: $(STAMP_DEV) $(MODEL)
	$(PYTEST) -m 'not slow'

# The attacks at length; their shorter forms are tests/pipeline/test_{kills,hostile_input,readers_bombs}.py. What they
# found stands in benchmarks/chaos/results, which they write anew.
soak: $(STAMP_DEV) $(MODEL)
	$(BIN)/python benchmarks/chaos/kills.py
	$(BIN)/python benchmarks/chaos/inputs.py
	$(BIN)/python benchmarks/chaos/memory.py

check: $(STAMP_DEV)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

env: $(ENV)

model: $(MODEL)

$(MODEL): | $(ENV)
	$(BIN)/python -m gristmill.pipeline.models.fetch $@

.venv/triton-3.6/triton: | $(STAMP_DEV)
	$(BIN)/python -m pip install --quiet --no-deps --target .venv/triton-3.6 triton==3.6.0

lock: $(STAMP_DEV)
	$(BIN)/python requirements/lock.py

$(STAMP_RUN):
	$(call install,run,gpu$(COMMA)hub$(COMMA)trafilatura,$@)

$(STAMP_DEV):
	$(call install,run dev,dev,$@)

COMMA := ,
TORCH := $(shell sed -n 's/^\(torch==[^ ]*\).*/\1/p' requirements/torch.txt)
PIP := $(BIN)/python -m pip install
HASHED := $(PIP) --no-deps --require-hashes --no-build-isolation

# packages(lock files, extras where the lock files do not fit). kenlm's build looks for cmake on the path. torch: the
# build that pip chooses here, installed if its hash is known; last, the CUDA packages that it asks for, if it is a build
# for CUDA (requirements/lock.py says why).
ifdef LOCKED
define packages
	$(HASHED) $(foreach file,$(1) $(if $(REFERENCE),build),-r requirements/$(file).txt)
	$(if $(REFERENCE),PATH="$(CURDIR)/$(BIN):$$PATH" $(HASHED) -r requirements/reference.txt)
	$(BIN)/python -m pip download --quiet --no-deps --dest .venv/torch $(TORCH)
	$(HASHED) --no-index --find-links .venv/torch -r requirements/torch.txt
	@rm -rf .venv/torch
	$(PIP) --quiet torch
	$(PIP) --quiet --no-deps --no-build-isolation -e .
endef
else
packages = $(PIP) -e '.[$(2)$(if $(REFERENCE),$(COMMA)reference)]'
endif

# install(lock files, extras, stamp): the environment, after one look at what the machine has for it.
define install
	@[ -n "$(PYTHON)" ] || { echo "make: no Python 3.11 or newer was found: install one, or name it with PYTHON=/path/to/python3.11" >&2; exit 2; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
		{ echo "make: $(PYTHON) is not Python 3.11 or newer: install one, or name it with PYTHON=/path/to/python3.11" >&2; exit 2; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || \
		{ echo "make: $(PYTHON) cannot make virtual environments: install its venv module (Debian: apt-get install python3-venv)" >&2; exit 2; }
	@echo "== the environment: .venv, about 3 GB (6 with torch for CUDA) and, the first time, a few minutes"
	@[ -n "$(REFERENCE)" ] || echo "make: no C++ compiler ($${CXX:-g++}) or no Python.h: going on without the reference engines fasttext, kenlm and datasketch, which the demo does not use (Debian: apt-get install g++ python3-dev)" >&2
	@[ -n "$(LOCKED)" ] || echo "make: the lock files are for Python 3.11 on Linux x86-64: pip takes the newest versions in the ranges of pyproject.toml" >&2
	[ -x $(BIN)/python ] || $(PYTHON) -m venv .venv
	$(call packages,$(1),$(2))
	@rm -f .venv/.gristmill-*
	@touch $(3)
endef

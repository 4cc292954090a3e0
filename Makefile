# One command each; all of them leave a ready .venv/bin/mumian. They need make, and Python 3.11 or newer with venv: no root, no Docker.
#
#   make demo     the whole chain on this machine; SECONDS=30 ends it by itself, BROKER=mqtt://host:port uses a broker of yours,
#                 REPLAY=file.csv feeds the test bench a recording, REPORT=file.json writes the verdict
#   make test     the tests, two files at once (WORKERS=0: one by one)
#   make lint     format, lint, types
#   make check    lint, then test: what CI runs
#   make long     tests that take long: those of make interop, the benchmarks made small, chaos and black-holed links made short
#                 (ten minutes)
#   make interop  the OPC UA driver against npm's node-opcua: every policy and mode, certificates, cuts, 50 restarts, misbehaviour
#   make faults   a million Modbus requests with 5 % faulty answers, in virtual time: no wrong value may come of them, and each poll
#                 that fails must have a fault to blame (minutes); then processes, disks, links and clocks: 1,672 kills at a system call,
#                 power cuts, I/O errors and full disks, 2,000 flipped bits and cuts, 100 black-holed links, a clock that is set:
#                 nothing acknowledged is lost or altered (docs/testing.md; ONLY=power-cuts for one of them)
#   make hour     an hour of every fault on five devices, twice, in virtual time: nothing lost, each outage one gap, the same ledger,
#                 memory flat; an hour of an OPC UA device that loses responses, sessions and subscriptions; what a dead unit costs the nine others behind its link; and a shift of eight hours of a machine without
#                 data of its own, against the truth (minutes). SEED=2 takes another seed
#   make fuzz     every decoder that eats bytes from outside, guided by coverage (Linux): SECONDS=30 for each, TARGET=modbus_rtu alone
#   make docs     write the settings reference and the JSON Schemas anew
#   make lock     resolve the dependencies anew and write the lock files
#   make clean    remove what was built, .venv too

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
RUNTIME := $(VENV)/.installed
DEVELOPMENT := $(VENV)/.installed-dev
FUZZER := $(VENV)/.installed-fuzz
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input
COMPILE := $(BIN)/pip-compile --quiet --generate-hashes --strip-extras --build-deps-for=editable --unsafe-package=pip \
	--no-emit-index-url --no-emit-trusted-host --no-emit-find-links --no-emit-options
PYTEST_ARGS ?=
# Test files at once; 0 has them one after the other.
WORKERS ?= 2

.DELETE_ON_ERROR:
.PHONY: setup demo test lint check long interop faults hour fuzz docs lock clean

setup: $(RUNTIME)
	@echo "ready: $(BIN)/mumian"

# What pip installs is what the lock file names, by hash. Our own package is built by the setuptools of the lock file.
$(RUNTIME): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys, venv; sys.exit(0 if sys.version_info >= (3, 11) else "Python 3.11 or newer is needed: make PYTHON=python3.12")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) install --quiet --require-hashes -r requirements.lock
	$(PIP) install --quiet --no-index --no-deps --no-build-isolation --editable .
	@touch $@

$(DEVELOPMENT): $(RUNTIME) requirements-dev.lock
	$(PIP) install --quiet --require-hashes -r requirements-dev.lock
	@touch $@

# Wheels of atheris are for Linux only, and nothing but fuzzing needs it.
$(FUZZER): $(DEVELOPMENT) requirements-fuzz.lock
	$(PIP) install --quiet --require-hashes -r requirements-fuzz.lock
	@touch $@

# Make puts the values in, as words of the command: a shell may keep a SECONDS of its own.
given = $(if $($(1)),$(2) '$($(1))')
demo: $(RUNTIME)
	@$(BIN)/mumian demo $(call given,SECONDS,--seconds) $(call given,BROKER,--broker) $(call given,REPLAY,--replay) $(call given,REPORT,--report)

test: $(DEVELOPMENT)
	$(BIN)/python -m pytest --numprocesses $(WORKERS) --dist loadfile $(PYTEST_ARGS)

lint: $(DEVELOPMENT)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

check: lint test

long: $(DEVELOPMENT)
	$(BIN)/python -m pytest -m long $(PYTEST_ARGS)

interop: $(DEVELOPMENT)
	$(BIN)/python -m pytest -m long -s --durations=10 tests/foreign $(PYTEST_ARGS)

faults: $(DEVELOPMENT)
	$(if $(ONLY),,$(BIN)/python -m tests.drivers.faulty_answers 1000000)
	$(BIN)/python -m tests.faults $(call given,ONLY,--only)

hour: $(DEVELOPMENT)
	$(BIN)/python -m tests.simulators.hour $(call given,SEED,--seed)
	$(BIN)/python -m tests.simulators.subscriptions $(call given,SEED,--seed)
	$(BIN)/python -m tests.simulators.dead_unit
	SHIFT_HOURS=8 $(BIN)/python -m pytest --quiet tests/derived/test_workshop.py

fuzz: $(FUZZER)
	@$(BIN)/python -m tests.fuzz $(call given,SECONDS,--seconds) $(call given,TARGET,--target)

docs: $(DEVELOPMENT)
	$(BIN)/python -m tests.repo.generated

lock: $(DEVELOPMENT)
	$(COMPILE) --output-file=requirements.lock pyproject.toml
	$(COMPILE) --extra=dev --constraint=requirements.lock --output-file=requirements-dev.lock pyproject.toml
	$(COMPILE) --extra=fuzz --constraint=requirements-dev.lock --output-file=requirements-fuzz.lock pyproject.toml

clean:
	rm -rf $(VENV) build dist run *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Two commands on a fresh machine: `make demo` and `make test`. Both set up what they need first.
PYTHON ?= python3.11
BIN := .venv/bin
# In how many processes the tests run, each with services of its own. Files stay whole and in order: the longest, which
# are those over HTTP, begin first.
JOBS ?= 2
PYTEST := $(BIN)/pytest --numprocesses $(JOBS) --dist loadfile --no-loadscope-reorder

.PHONY: demo test fast check unit integration acceptance chaos-short chaos histories fuzz foreign audit pretrain clean

demo: .venv/installed
	$(BIN)/python -m demo

# All tests in one run: while some wait, others compute.
test: check
	$(PYTEST)

check: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/mypy

# Unit tests that start no service and train nothing: under a minute on two quiet cores.
fast: .venv/installed
	$(PYTEST) -m "not slow" tests/unit

unit integration acceptance: .venv/installed
	$(PYTEST) tests/$@

# The short run of the chaos harness, which `make test` contains; and the long one: half an hour and more.
chaos-short: .venv/installed
	$(BIN)/pytest tests/chaos

chaos: .venv/installed
	$(BIN)/python -m tests.chaos
	$(BIN)/python -m tests.chaos.stops

# 500 histories of up to 50 moves of users and workers, against a model; `make test` has a few of them.
histories: .venv/installed
	$(BIN)/python -m tests.integration.histories 500 50

# Some 10,000 generated requests against every route; five minutes on two quiet cores.
fuzz: .venv/installed
	$(BIN)/python -m tests.long.fuzz 175

# Files out to other tools and back: an older diffusers and peft, and LyCORIS, in an environment of their own.
foreign: .venv/installed .venv-foreign/installed
	FOREIGN_PYTHON=.venv-foreign/bin/python $(BIN)/pytest tests/foreign

.venv-foreign/installed: tests/foreign/requirements.txt
	$(PYTHON) -m venv .venv-foreign
	.venv-foreign/bin/pip install --quiet --requirement tests/foreign/requirements.txt
	touch $@

# Known holes in what is pinned, from a public database: needs the network. Strict: what could not be looked up fails.
audit: .venv/installed
	$(BIN)/pip install --quiet --constraint constraints.txt --editable .[audit]
	$(BIN)/pip-audit --strict --requirement constraints.txt --no-deps --disable-pip

# Trains the next embedded base in the background of other work: a day on two cores, at the lowest priority. Killed at any
# moment it goes on from its last checkpoint, a minute old at most. Its autoencoder is finished and in the repository.
# `python -m recipes.icons_64 export` then writes the base.
pretrain: .venv/installed
	nice -n 19 $(BIN)/python -m recipes.icons_64 data
	nice -n 19 $(BIN)/python -m recipes.icons_64 tokenizer
	nice -n 19 $(BIN)/python -m recipes.icons_64 latents
	nice -n 19 $(BIN)/python -m recipes.icons_64 unet

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --constraint constraints.txt --editable .[dev,pretraining]
	touch $@

clean:
	rm -rf .venv .palimpsest demo-output

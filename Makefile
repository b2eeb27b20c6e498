# Two commands on a fresh machine: `make demo` and `make test`. Both set up what they need first.
PYTHON ?= python3.11
BIN := .venv/bin

.PHONY: demo test check unit integration acceptance fuzz audit pretrain clean

demo: .venv/installed
	$(BIN)/python -m demo

test: check unit integration acceptance

check: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/mypy

unit integration acceptance: .venv/installed
	$(BIN)/pytest tests/$@

# Some 11,000 generated requests against every route; a quarter of an hour on two busy cores.
fuzz: .venv/installed
	$(BIN)/python -m benchmarks.fuzz 260

# Known holes in what is pinned, from a public database: needs the network.
audit: .venv/installed
	$(BIN)/pip install --quiet --constraint constraints.txt --editable .[audit]
	$(BIN)/pip-audit --requirement constraints.txt --no-deps --disable-pip

# The recipe behind base_models/icons-64; hours on a CPU, resumable.
pretrain: .venv/installed
	$(BIN)/python -m worker.pretraining

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --constraint constraints.txt --editable .[dev,pretraining]
	touch $@

clean:
	rm -rf .venv .palimpsest demo-output

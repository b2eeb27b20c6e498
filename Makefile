# Two commands on a fresh machine: `make demo` and `make test`. Both set up what they need first.
PYTHON ?= python3.11
BIN := .venv/bin

.PHONY: demo test check unit integration acceptance pretrain clean

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

# The recipe behind base_models/icons-64; hours on a CPU, resumable.
pretrain: .venv/installed
	$(BIN)/python -m worker.pretraining

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --constraint constraints.txt --editable .[dev,pretraining]
	touch $@

clean:
	rm -rf .venv .palimpsest demo-output

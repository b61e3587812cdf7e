PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: install search test lint types bench clean

install: $(VENV)/installed

$(VENV)/installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/pip install --quiet -e '.[dev]'
	touch $@

search: install
	$(BIN)/python train.py experiment=quickstart

test: install
	$(BIN)/pytest -n 2 --dist loadfile

lint: install
	$(BIN)/ruff check .

types: install
	$(BIN)/mypy

bench: install
	$(BIN)/python -m benchmarks
	$(BIN)/python -m benchmarks.step_darts
	$(BIN)/python -m benchmarks.step_darts --partial 4

clean:
	rm -rf $(VENV) runs

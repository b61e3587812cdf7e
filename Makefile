PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: install search test test-lowest lint types audit lock wheel bench tables figures dashboard clean

# Where `tables` and `figures` read runs, and where they write.
RUNS ?= results
OUT ?= runs/reports

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

# The suite on the lowest versions that pyproject.toml allows
test-lowest: install
	$(BIN)/pip install --quiet uv
	$(BIN)/uv venv --quiet --clear --python $(BIN)/python $(VENV)-lowest
	$(BIN)/uv pip install --quiet --python $(VENV)-lowest/bin/python --resolution lowest-direct -e '.[dev]'
	$(VENV)-lowest/bin/python -m pytest -n 2 --dist loadfile

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: install
	$(BIN)/mypy

# Known vulnerabilities of the tested set, from PyPI's advisories
audit: install
	$(BIN)/pip install --quiet pip-audit
	$(BIN)/pip-audit --strict --requirement requirements-tested.txt --no-deps --disable-pip

# After the suite has passed: the set that it passed with
lock: install
	sed -n 1p requirements-tested.txt > requirements-tested.new
	$(BIN)/pip freeze --exclude-editable >> requirements-tested.new
	mv requirements-tested.new requirements-tested.txt

wheel: install
	$(BIN)/pip wheel --quiet --no-deps --wheel-dir dist .

bench: install
	$(BIN)/python -m speed

# The paper's tables with our runs beside them: make tables RUNS=runs
tables: install
	$(BIN)/python -m nas_lightning.reports table all $(RUNS) -o $(OUT)/tables

# The figures of the paper and of the runs as SVG and PNG, and one HTML page: make figures RUNS=runs/table5_reduced
figures: install
	for name in fig2a fig2b fig3; do $(BIN)/python -m nas_lightning.reports figure $$name -o $(OUT)/$$name || exit 1; done
	for name in fig4 fig4a fig4b temperature skips cost; do \
		$(BIN)/python -m nas_lightning.reports figure $$name $(RUNS) -o $(OUT)/$$name || exit 1; done
	$(BIN)/python -m nas_lightning.reports figure cells $(RUNS) -o $(OUT)/cells
	$(BIN)/python -m nas_lightning.reports html $(RUNS) -o $(OUT)/report.html

# The W&B workspace: make dashboard ARGS=--dry-run, or ARGS=--entity=<your name>
dashboard: install
	$(BIN)/pip install --quiet -e '.[dashboard]'
	$(BIN)/python -m nas_lightning.app.dashboard $(ARGS)

clean:
	rm -rf $(VENV) $(VENV)-lowest runs dist

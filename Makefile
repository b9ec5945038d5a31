# Everything runs in one virtual environment, .venv, which any target prepares when it is missing.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.ready
# Two spinning OpenMP threads are many times slower than one on shared cores.
export OMP_NUM_THREADS ?= 1
export OMP_WAIT_POLICY ?= passive
export KMP_BLOCKTIME ?= 0

.PHONY: setup demo test lint clean

setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt setup.py
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt torch==2.13.0 setuptools
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

demo: setup
	$(BIN)/bridle demo

# Two at a time, but for those that start nodes: these would hear each other.
test: setup
	$(BIN)/python -m pytest -n 2 --dist loadfile --ignore tests/integration --ignore tests/ros_nodes
	$(BIN)/python -m pytest tests/ros_nodes tests/integration

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	.ci/check-installed $(BIN)

clean:
	rm -rf $(VENV) build install log demo

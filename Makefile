# setup | check | test | demo | bench: nothing else to remember. Needs Python 3.10 or newer with venv, and PyPI.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: setup check test demo bench lock docs clean setup-convert test-convert train train-smoke

setup: $(VENV)/.ready

$(VENV)/.ready: requirements/dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { echo "posebus needs Python 3.10 or newer; found $$($(PYTHON) --version). Try: make PYTHON=python3.11 $(MAKECMDGOALS)"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements/dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $@

check: setup
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: setup
	$(BIN)/pytest

demo: setup
	$(BIN)/posebus demo

bench: setup
	$(BIN)/python -m benchmarks.scheduling
	$(BIN)/python -m benchmarks.overload
	$(BIN)/python -m benchmarks.overhead
	$(BIN)/python -m benchmarks.idle

# PyTorch, trainers and converters live in an environment of their own, .venv-convert (Python 3.11 or newer, about 3 GB).
CONVERT_VENV ?= .venv-convert

setup-convert: $(CONVERT_VENV)/.ready

$(CONVERT_VENV)/.ready: requirements/convert.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "conversion needs Python 3.11 or newer; found $$($(PYTHON) --version). Try: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	$(PYTHON) -m venv $(CONVERT_VENV)
	$(CONVERT_VENV)/bin/python -m pip install --quiet --disable-pip-version-check -r requirements/convert.txt
	$(CONVERT_VENV)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $@

test-convert: setup-convert
	$(CONVERT_VENV)/bin/pytest tests/models $(wildcard tests/common/test_tensorrt*.py) $(wildcard tests/posebus/test_models_*.py)

# From the data to models/zoo: MODEL=tinypose-s, tinypose-m, tinydet-s or tinydet-m. Goes on where it was interrupted.
MODEL ?= tinypose-s

train: setup-convert
	$(CONVERT_VENV)/bin/python -m models.ship.reproduce $(MODEL)

# Both networks from end to end on drawn figures, by the same code; a few minutes.
train-smoke: setup-convert
	$(CONVERT_VENV)/bin/python -m models.ship.smoke

lock:
	requirements/lock.sh

docs: setup
	$(BIN)/python -m posebus.reference

clean:
	rm -rf $(VENV) $(CONVERT_VENV) out build .mypy_cache .ruff_cache .pytest_cache

# Each target does all of its own set-up in .venv; Python 3.11 or newer and git are enough.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready

.PHONY: demo test lint format clean

demo: $(READY)  ## the whole main job on embedded images, in minutes
	$(BIN)/srprune run configs/demo.yaml

test: $(READY)  ## all tests; those that need real data read SRPRUNE_DATA
	$(BIN)/python -m pytest

lint: $(READY)  ## style, types, and the walls between the packages
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -q -c constraints.txt -e '.[dev]'
	touch $@

clean:
	rm -rf .venv workspace

# make demo    takes the shipped face network through the whole flow to an ECP5 bitstream
# make test    runs the tests
# make slow    runs the long test campaigns
# make lint    checks style and types
# All of them first create .venv from PyPI alone. Needed: Python 3.11, g++, make and perl.

PYTHON ?= python3
OUT ?= out
PYTEST_FLAGS ?= -n 2

BIN := .venv/bin
READY := .venv/.ready

.PHONY: demo test slow lint clean

demo: $(READY)
	$(BIN)/hwgen build models/face/face.onnx \
	    --data models/face/train.npz --test models/face/test.npz \
	    --board ulx3s-25f --out $(OUT)/face

test: $(READY)
	$(BIN)/python -m pytest $(PYTEST_FLAGS)

slow: $(READY)
	$(BIN)/python -m pytest -m slow

lint: $(READY)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

clean:
	rm -rf $(OUT) build dist hwgen.egg-info .mypy_cache .pytest_cache .ruff_cache

$(READY): pyproject.toml
	$(PYTHON) bootstrap.py
	touch $@

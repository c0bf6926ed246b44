# make demo    takes the shipped face network through the whole flow to an ECP5 bitstream
# make test    runs the tests
# make slow    runs the long test campaigns
# make lint    checks style and types
# make bench-shiftadd  compares adder graphs with those of da4ml, which it installs beside; an hour
# All of them first create .venv from PyPI alone. Needed: Python 3.11, g++, make and perl.

PYTHON ?= python3
OUT ?= out
PYTEST_FLAGS ?= -n 2

BIN := .venv/bin
READY := .venv/.ready
DA4ML := .venv-da4ml/bin/python
SHIFTADD := $(BIN)/python benchmarks/bench_shiftadd.py --da4ml $(DA4ML)

.PHONY: demo test slow lint bench-shiftadd clean

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

bench-shiftadd: $(READY) $(DA4ML)
	mkdir -p $(OUT)
	$(SHIFTADD) --seeds 5 --jobs 2 --results $(OUT)/adders.json
	$(SHIFTADD) --seeds 5 --jobs 2 --objective bits --results $(OUT)/bits.json
	$(SHIFTADD) --seeds 5 --jobs 2 --depth 0 --results $(OUT)/depth0.json
	$(SHIFTADD) --seeds 5 --jobs 2 --depth 2 --results $(OUT)/depth2.json
	$(BIN)/python benchmarks/bench_shiftadd_scaling.py --da4ml $(DA4ML) \
	    --results $(OUT)/shiftadd-scaling.json
	$(BIN)/python benchmarks/bench_shiftadd_luts.py --da4ml $(DA4ML) --time 5 --clock 5000 --early \
	    --results $(OUT)/luts.json

$(DA4ML):
	$(PYTHON) -m venv .venv-da4ml
	.venv-da4ml/bin/pip install --quiet da4ml==0.6.0

clean:
	rm -rf $(OUT) build dist hwgen.egg-info .mypy_cache .pytest_cache .ruff_cache

$(READY): pyproject.toml
	$(PYTHON) bootstrap.py
	touch $@

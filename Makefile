# Every target sets up what it needs: .venv, the package (editable) and the extras it uses. No root, no system Graphviz.
#
#   make demo     train, compile, draw, save and reload a CNN on real handwritten digits; writes demo-out/
#   make test     the test suite
#   make check    lint, format, types, tests
#   make machines the suite beside two busy processes, and on each machine that is described (MACHINES='busy 1core --shares 16')
#   make soak     sweeps at length: generated programs, files, calls and interrupts (SOAK='stale --seconds 60' picks one)
#   make browser  try reports in headless Chromium, which has to be there (apt-get install chromium)
#   make docs     build the documentation, run its notebooks and check its links; writes site/html/
#   make pictures draw the pictures of docs/pictures.md
#   make peer     compare with PyTorch and ONNX Runtime, and run a notebook (installs what it needs)
#   make models   fetch real ONNX models and compare each with ONNX Runtime (installs it)
#   make onnx     run the backend suite of the onnx package; fails where fewer cases pass than tests/suite/table.md says
#   make mpi      train in several processes: install MPI and run what needs its mpiexec
#   make plugin   install the package of examples/plugin into an environment of its own, type-check and test it there
#   make bench    the benchmarks, beside PyTorch, ONNX Runtime and OpenVINO (installs them and MPI); writes benchmarks/results/
#   make clean    remove what the targets made, .venv included

VENV   ?= .venv
# the first interpreter of these that is new enough
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$p; break; }; done)

BIN  := $(VENV)/bin
PIP  := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-input
DONE := $(VENV)/.lucid

.PHONY: help demo test machines check lint soak browser docs pictures peer models onnx mpi plugin bench clean
.NOTPARALLEL:   # the targets share one environment
.DELETE_ON_ERROR:
export PYTHONDONTWRITEBYTECODE =   # the many processes that tests start need not compile what others have compiled

help:
	@sed -n 's/^#   //p' Makefile

demo: $(DONE)-demo
	@$(BIN)/python examples/digits.py

test: $(DONE)-test
	@$(BIN)/python -m pytest -q -n auto

machines: $(DONE)-test
	@$(BIN)/python -m tests.everywhere $(MACHINES)

lint: $(DONE)-dev
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --check --quiet . || { echo "run: $(BIN)/ruff format ." >&2; exit 1; }
	@$(BIN)/mypy --no-error-summary

check: lint test

soak: $(DONE)-test
	@$(BIN)/python -m tests.soak $(SOAK)

browser: $(DONE)-browser
	@$(BIN)/python -m pytest -q -o addopts="-W error --strict-markers --strict-config" tests/browser

docs: $(DONE)-docs
	@$(BIN)/sphinx-build -q -W --keep-going -j auto -c docs -d site/doctrees . site/html
	@$(BIN)/python -m pytest -q -o addopts="-W error --strict-markers --strict-config" tests/site

pictures: $(DONE)-test
	@$(BIN)/python examples/pictures.py

peer: $(DONE)-test $(DONE)-peer
	@$(BIN)/python -m pytest -q -n auto -o addopts="-W error --strict-markers --strict-config" tests/peer

models: $(DONE)-test $(DONE)-peer
	@$(BIN)/python -m tests.real.fetch >/dev/null
	@$(BIN)/python -m pytest -q -n auto -o addopts="--strict-markers --strict-config" tests/real

onnx: $(DONE)-test
	@$(BIN)/python -m pytest -q -o addopts="--strict-markers --strict-config" tests/suite

mpi: $(DONE)-test $(DONE)-mpi
	@$(BIN)/python -m pytest -q -o addopts="-W error --strict-markers --strict-config" tests/mpi

plugin: $(DONE)-dev
	@rm -rf $(VENV)/plugin
	@$(BIN)/python -m venv --without-pip $(VENV)/plugin
	@site='import site; print(site.getsitepackages()[0])'; \
	  echo "import site; site.addsitedir('$$($(BIN)/python -c "$$site")')" \
	  > "$$($(VENV)/plugin/bin/python -c "$$site")/around.pth"   # what is installed in $(VENV) is there too
	@$(BIN)/python -m pip --python $(VENV)/plugin/bin/python install --quiet --disable-pip-version-check --no-deps \
	  ./examples/plugin
	@cd examples/plugin && { python=$(abspath $(VENV))/plugin/bin/python; \
	  $$python -m mypy --no-error-summary src tests & $$python -m pytest -q -n auto && wait $$!; }

bench: $(DONE)-bench $(DONE)-mpi
	@$(BIN)/python benchmarks/scale.py --write benchmarks/results/scale.md
	@$(BIN)/python benchmarks/run.py
	@$(BIN)/python benchmarks/growth.py
	@$(BIN)/python benchmarks/costs.py
	@$(BIN)/python benchmarks/sweep.py
	@$(BIN)/python benchmarks/training.py --write benchmarks/results/training.md
	@$(BIN)/python benchmarks/parallel.py --write benchmarks/results/parallel.md

clean:
	@rm -rf $(VENV) demo-out site build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

# ---------------------------------------------------------------- set-up

$(DONE)-venv:
	@test -n "$(PYTHON)" || { echo "lucid needs Python 3.11 or newer, and none was found: install one," \
	  "or name it with 'make PYTHON=/path/to/python3.11'" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "lucid needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) --version 2>&1)" >&2; exit 1; }
	@echo "setting up $(VENV) with $$($(PYTHON) --version)" >&2
	@$(PYTHON) -m venv $(VENV) || { echo "could not make $(VENV); on Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }
	@touch $@

# one rule for each extra: .venv/.lucid-test says that lucid[test] is installed as pyproject.toml has it now
$(DONE)-%: $(DONE)-venv pyproject.toml
	@echo "installing lucid[$*]" >&2
	@$(PIP) -e '.[$*]'
	@touch $@

# Needs Python 3.11 or newer and make; everything else is installed into .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
CPU_TORCH := https://download.pytorch.org/whl/cpu
# Where bytecode is not kept, each of hundreds of processes compiles the package and its specifications anew.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: run quick quick-tests test demo-test lint bench agents docs lock clean

run: $(VENV)/.run  ## the main job: all controllers on the paper's bursty window
	$(BIN)/ipa-rl compare video --window bursty

quick: $(VENV)/.ready  ## what a change breaks most often: lint, types, and specifications that need only Python
	$(MAKE) --jobs 2 --output-sync=target lint quick-tests

quick-tests: $(VENV)/.ready
	$(BIN)/python -m pytest -n 2 --dist loadscope --no-loadscope-reorder -m quick --hypothesis-profile quick

test: lint  ## everything that must hold
	$(BIN)/python -m pytest -n 6 --dist loadscope --no-loadscope-reorder

demo-test: $(VENV)/.ready  ## the demonstration on a real Ray Serve: eleven minutes of a quiet machine
	IPA_DEMO=1 $(BIN)/python -m pytest tests/test_ray_serve.py tests/test_demo.py

lint: $(VENV)/.ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/.ready
	$(BIN)/python scripts/benchmark_startup.py
	$(BIN)/python scripts/benchmark_solvers.py
	$(BIN)/python scripts/benchmark_simulator.py
	$(BIN)/python scripts/benchmark_vec_env.py
	$(BIN)/python scripts/benchmark_requests.py
	$(BIN)/python scripts/benchmark_decisions.py
	$(BIN)/python scripts/benchmark_planner.py
	$(BIN)/python scripts/benchmark_load_source.py
	$(BIN)/python scripts/benchmark_sidecar.py

agents: $(VENV)/.ready  ## all shipped agents from the policy for any pipeline: an hour on two cores
	$(BIN)/ipa-rl build --front-windows 40 --ship

docs: $(VENV)/.ready  ## links of all pages resolve, and the README's Python runs
	$(BIN)/python -m pytest -q tests/test_docs.py

# Versions are those of constraints.txt; the hashes are of all files of a version, for every machine.
LOCK := $(VENV)/lock/bin/pip-compile --quiet --generate-hashes --no-reuse-hashes --strip-extras --no-annotate --no-header \
  --no-emit-index-url --no-emit-trusted-host --no-emit-find-links --constraint constraints.txt

lock: $(VENV)/.ready  ## the packages of deploy/Dockerfile with their hashes, after a change of constraints.txt
	$(PYTHON) -m venv $(VENV)/lock
	$(VENV)/lock/bin/pip install --quiet --disable-pip-version-check pip-tools
	$(LOCK) --output-file deploy/requirements.lock deploy/requirements.txt
	echo 'hatchling>=1.25' | $(LOCK) --output-file deploy/build.lock -
	sed -i '1i # Made by `make lock`: what deploy/Dockerfile installs, with the hashes of the packages.' deploy/*.lock

PIP := $(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt

# What the main job needs: the package, and what draws its pictures.
$(VENV)/.run: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)
	$(PIP) -e '.[plot]'
	touch $@

# Everything else. Without an NVIDIA GPU, torch's CPU build is offered as well, where its index can be reached:
# it is preferred by its local version, and gigabytes of CUDA are not pulled.
$(VENV)/.ready: $(VENV)/.run
	extra=""; \
	if ! command -v nvidia-smi >/dev/null 2>&1 && $(PYTHON) -c 'import urllib.request as u; u.urlopen("$(CPU_TORCH)/torch/", timeout=3)' >/dev/null 2>&1; \
	then extra="--extra-index-url $(CPU_TORCH)"; fi; \
	$(PIP) $$extra -e '.[dev]'
	touch $@

clean:
	rm -rf $(VENV) runs build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

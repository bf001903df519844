# Concord: `make run-pipeline RUNNER=DirectRunner` and `make test` do all the set-up by themselves.

RUNNER ?= DirectRunner
ROOT ?= $(if $(CLOUD),gs://$(BUCKET)/out,out)
RUN ?=
FLAGS ?=
SECONDS ?= 30
SEED ?= -1
FLINK_MASTER ?=
TASK_MANAGERS ?= 2
FLINK_PORT ?= 8081
FLINK_FLAGS ?=
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
SOURCES := concord schemas storage metrics models pipelines analysis samples deploy tests benchmarks setup.py

# On Dataflow: whose project, where, in which bucket, and the image of deploy/dataflow/Dockerfile (none: Beam's own)
PROJECT ?=
REGION ?= europe-west4
BUCKET ?=
IMAGE ?=
CLOUD := $(filter DataflowRunner,$(RUNNER))
CLOUD_FLAGS = --project=$(PROJECT) --region=$(REGION) --temp_location=gs://$(BUCKET)/temp $(if $(IMAGE),--sdk_container_image=$(IMAGE))

.DEFAULT_GOAL := help
.PHONY: help install run-pipeline image template flink-up flink-down prism test test-long test-chains fuzz lint format docs bench lock clean

help: ## Show this help
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'
	@echo "  settings: RUNNER=$(RUNNER) ROOT=$(ROOT) RUN=file.toml FLAGS='--direct_num_workers=2' PYTHON=$(PYTHON)"

# The locked dependencies: remade from nothing whenever the lock file changes.
$(VENV)/.dependencies: requirements.lock
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if v == (3, 11) else f"Concord needs Python 3.11, but $(PYTHON) is {v[0]}.{v[1]}; give one with PYTHON=...")'
	rm -rf $(VENV)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --requirement requirements.lock
	touch $@

# Concord itself, in place.
$(VENV)/.installed: $(VENV)/.dependencies pyproject.toml setup.py
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	touch $@

install: $(VENV)/.installed ## Make the environment in .venv (the other targets do so by themselves)

run-pipeline: $(VENV)/.installed ## Run the chain of RUN (default: the drawn sample) on RUNNER, into ROOT
	$(if $(CLOUD),$(if $(and $(PROJECT),$(BUCKET)),,$(error RUNNER=DataflowRunner needs PROJECT=... and BUCKET=... (without gs://), and perhaps REGION=... and IMAGE=...)))
	$(BIN)/concord run $(RUN) --root $(ROOT) --runner=$(RUNNER) $(if $(CLOUD),$(CLOUD_FLAGS)) $(if $(FLINK_MASTER),--flink_master=$(FLINK_MASTER)) $(FLAGS)

image: ## Build and push IMAGE, the container of Dataflow's GPU workers
	$(if $(IMAGE),,$(error make image needs IMAGE=..., such as europe-docker.pkg.dev/PROJECT/concord/gpu:1))
	docker build --file deploy/dataflow/Dockerfile --target worker --tag $(IMAGE) .
	docker push $(IMAGE)

template: ## Build and push IMAGE with the launcher, and write Dataflow's flex template to gs://BUCKET/concord.json
	$(if $(and $(IMAGE),$(BUCKET)),,$(error make template needs IMAGE=... and BUCKET=... (without gs://)))
	docker build --file deploy/dataflow/Dockerfile --target template --tag $(IMAGE) .
	docker push $(IMAGE)
	gcloud dataflow flex-template build gs://$(BUCKET)/concord.json --image $(IMAGE) --sdk-language PYTHON --metadata-file deploy/dataflow/template.json

flink-up: $(VENV)/.installed ## Start a Flink cluster on this machine: TASK_MANAGERS=2, FLINK_PORT=8081
	$(BIN)/python -m deploy.flink up --task-managers $(TASK_MANAGERS) --port $(FLINK_PORT) $(FLINK_FLAGS)

flink-down: $(VENV)/.installed ## End that cluster
	$(BIN)/python -m deploy.flink down

prism: $(VENV)/.installed ## Build the binary of Beam's runner Prism, with Go
	$(BIN)/python -m deploy.prepare prism

# One worker more than cores, for some tests only wait.
test: $(VENV)/.installed ## Run the tests (under 10 minutes on 2 cores)
	$(BIN)/python -m pytest -n $$(($$(getconf _NPROCESSORS_ONLN) + 1)) --dist loadfile

test-long: $(VENV)/.installed ## Run the tests that take longer
	$(BIN)/python -m pytest -m long
	$(BIN)/python -m tests.fuzz --seconds 600 --workers 2

fuzz: $(VENV)/.installed ## Feed every reader damaged files, for SECONDS each; SEED repeats a run
	$(BIN)/python -m tests.fuzz --seconds $(SECONDS) --seed=$(SEED) --workers 2

test-chains: $(VENV)/.installed ## Run whole chains: in object stores, on Prism, Flink and a Dataflow of loopback, and killed at random
	$(BIN)/python -m deploy.prepare
	$(BIN)/python -m pytest -n auto --dist loadfile -m 'chains and not long' -rs

lint: $(VENV)/.installed ## Check style and types
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/mypy $(SOURCES)

format: $(VENV)/.installed ## Put the code into the project's format
	$(BIN)/ruff check --fix $(SOURCES)
	$(BIN)/ruff format $(SOURCES)

docs: $(VENV)/.installed ## Write what is generated: docs/tables.md, docs/bigquery.sql, analysis/views.sql
	$(BIN)/python -m concord.docs

bench: $(VENV)/.installed ## Time Concord against its peers
	$(BIN)/python -m benchmarks.convert
	$(BIN)/python -m benchmarks.label
	$(BIN)/python -m benchmarks.confirm
	$(BIN)/python -m benchmarks.agree

lock: $(VENV)/.installed ## Resolve the ranges of pyproject.toml anew into requirements.lock and deploy/dataflow/requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check 'uv>=0.8,<1'
	$(BIN)/uv pip compile --quiet --extra dev --python-version 3.11 --no-emit-index-url --upgrade --custom-compile-command 'make lock' --output-file requirements.lock pyproject.toml
	$(BIN)/uv pip compile --quiet --extra gpu --constraint requirements.lock --python-version 3.11 --python-platform x86_64-manylinux_2_28 --no-emit-index-url --upgrade --custom-compile-command 'make lock' --output-file deploy/dataflow/requirements.lock pyproject.toml

clean: ## Remove the environment and every cache; what runs wrote is left
	rm -rf $(VENV) build *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

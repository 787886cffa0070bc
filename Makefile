# make help lists the targets.
SHELL := /bin/sh
PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/installed
EVENTS ?= 100
SECONDS ?= 3600
override SQL := $(value SQL)
export SQL

.PHONY: help install run ui seed env doctor psql demo-privacy stop image up down logs smoke test soak bench screenshots check format lock lock-check clean

help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1	/; s/[$$]+/$$/' | expand -t 14

install: $(INSTALLED) ## Make .venv and install the locked dependencies into it

$(INSTALLED): requirements-dev.lock
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 14))' \
		|| { echo "Airflow 3.3.2 and its Amazon provider need Python 3.11 to 3.14; name one: make $(MAKECMDGOALS) PYTHON=python3.12"; exit 1; }
	@case "$(CURDIR)" in *\ *) echo "The embedded Postgres takes no path with a space: move the project from $(CURDIR)"; exit 1;; esac
	@echo "Installing about 210 pinned packages into .venv; this takes a minute or two …" >&2
	@$(PYTHON) -m venv --clear .venv || { echo "Python's venv module is missing (Debian: apt install python3-venv)"; exit 1; }
	@$(BIN)/python -m pip install --quiet --quiet --disable-pip-version-check --require-hashes $(LOCKED) >&2 \
		|| { $(BIN)/python -m pip download --quiet --quiet --disable-pip-version-check --no-deps --dest .venv/index pip 2>/dev/null \
		|| echo "No package index can be reached: pip needs a network, or pip.conf or PIP_INDEX_URL for an index of yours"; exit 1; }
	@touch $@

run: $(INSTALLED) ## Send sample events, run the DAG once, show the result (EVENTS=100 SEED=1 FORMS=1 VERBOSE=1)
	@$(BIN)/python -m sandbox run --events $(EVENTS) $(if $(SEED),--seed $(SEED)) $(if $(FORMS),--forms) $(if $(VERBOSE),--verbose)

ui: $(INSTALLED) ## Run Airflow with its UI and the local servers until Ctrl-C
	@$(BIN)/python -m sandbox ui

seed: $(INSTALLED) ## Send more sample events to the running local queue, and let make ui drain them (EVENTS=100 SEED=1; FORMS=1: a login in each form)
	@$(BIN)/python -m sandbox seed --events $(EVENTS) $(if $(SEED),--seed $(SEED)) $(if $(FORMS),--forms)

env: $(INSTALLED) ## Print a shell's set-up for plain airflow commands: eval "$$(make -s env)"
	@$(BIN)/python -m sandbox env

doctor: $(INSTALLED) ## Check what a run needs and show it as a table, without a run: the local servers, or what .env names
	@$(BIN)/python -m sandbox doctor

psql: $(INSTALLED) ## Open psql on the local warehouse, or on the one in .env (SQL='select 1': runs that)
	@$(BIN)/python -m sandbox psql $(if $(SQL),--sql "$$SQL")

demo-privacy: $(INSTALLED) ## Tell a story: two people recover a device, the key is changed, a person is forgotten
	@$(BIN)/python -m sandbox.demo_privacy

stop: $(INSTALLED) ## Stop the local servers that make env started, and Airflow
	@$(BIN)/python -m sandbox stop

image: ## Build the image of deploy/image, user_logins, with its version and the commit that it is made of in its labels
	@docker build --quiet --file deploy/image/Dockerfile --tag user_logins:$(VERSION) --tag user_logins:latest \
		--build-arg VERSION=$(VERSION) --build-arg REVISION=$(REVISION) --build-arg SOURCE_DATE_EPOCH=$(COMMITTED) .

up: $(if $(IMAGE),image) ## Start the whole system in Docker and wait until it is healthy (CELERY=2 for two Celery workers; IMAGE=1; EXERCISE=1)
	@$(COMPOSE) up --wait --remove-orphans $(if $(CELERY),--scale worker=$(CELERY))
	@echo "Airflow: http://$$($(COMPOSE) port api-server 8080)/dags/user_logins"
	@echo "Sample events: $(strip $(COMPOSE)) run --rm seed$(if $(EXERCISE),, 500)"

down: ## Stop it; its data stays
	@$(COMPOSE) down --remove-orphans

logs: ## Follow its logs
	@$(COMPOSE) logs --follow --tail 100

smoke: $(if $(IMAGE),image) ## Start a system of its own, crash it in the middle of a load, compare the table, remove it (CELERY=1 IMAGE=1)
	@$(PYTHON) -m deploy.compose.smoke $(if $(CELERY),--celery) $(if $(IMAGE),--image)

test: $(INSTALLED) ## Run every test, in three processes
	@$(BIN)/python -m pytest --numprocesses 3 --dist loadfile --no-loadscope-reorder

soak: $(INSTALLED) ## Every kill point, a million hostile bodies, random faults for an hour (SECONDS=3600)
	@SOAK_SECONDS=$(SECONDS) FUZZED_BODIES=1000000 $(BIN)/python -m pytest $(addprefix tests/integration/,test_kill_points.py test_hostile_input.py test_rotation.py test_side_by_side.py test_upgrades.py test_vault.py test_soak.py)

bench: $(INSTALLED) ## Measure speed and cost, and write docs/performance.md; needs a quiet machine and 16 GB of disk
	@$(BIN)/python -m benchmarks

screenshots: $(INSTALLED) ## Take the README's pictures of the page anew, light and dark, in a sandbox of its own; needs chromium
	@$(BIN)/python -m sandbox.screenshots

check: $(INSTALLED) ## Lint, check the format and the types
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy

format: $(INSTALLED) ## Format the code, and fix what the linter can
	@$(BIN)/ruff check --fix --quiet
	@$(BIN)/ruff format

lock: $(INSTALLED) ## Refresh both locks from requirements.txt and requirements-dev.txt
	@$(BIN)/uv pip compile --quiet --upgrade $(LOCK) requirements.txt --output-file requirements.lock
	@$(BIN)/uv pip compile --quiet --upgrade $(LOCK) requirements-dev.txt --constraint requirements.lock --output-file requirements-dev.lock

lock-check: $(INSTALLED) ## Check that both locks hold what the requirements ask for; newer releases do not matter
	@folder=$$(mktemp -d) && trap 'rm -r "$$folder"' EXIT && cp requirements.lock requirements-dev.lock "$$folder" \
		&& $(BIN)/uv pip compile --quiet $(LOCK) requirements.txt --output-file "$$folder/requirements.lock" \
		&& diff requirements.lock "$$folder/requirements.lock" \
		&& $(BIN)/uv pip compile --quiet $(LOCK) requirements-dev.txt --constraint requirements.lock --output-file "$$folder/requirements-dev.lock" \
		&& diff requirements-dev.lock "$$folder/requirements-dev.lock" \
		|| { echo "A lock does not hold what the requirements ask for: run make lock, and commit both"; exit 1; }

# As constraints too: of a package that another one wants with extras, pip would otherwise look at the newest first, and refuse it.
LOCKED = -r requirements-dev.lock -c requirements-dev.lock
LOCK = --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links --custom-compile-command "make lock"

FILES = $(if $(and $(CELERY),$(EXERCISE)),$(error CELERY and EXERCISE do not go together)) \
	$(if $(CELERY),deploy/compose/celery.yaml) $(if $(EXERCISE),deploy/compose/exercise.yaml) \
	$(if $(IMAGE),deploy/image/compose.yaml $(if $(CELERY),deploy/image/compose-celery.yaml))
# Without any, COMPOSE_FILE of .env decides.
COMPOSE = docker compose $(if $(CELERY)$(EXERCISE)$(IMAGE),$(addprefix --file ,docker-compose.yaml $(FILES)))

VERSION = $(shell sed -n 's/^VERSION = "\(.*\)"/\1/p' include/release.py)
# Of a folder that is no clone nothing is known; one in which something that is copied was changed is no commit's.
REVISION = $(or $(shell git rev-parse HEAD 2>/dev/null),unknown)$(if $(shell git status --porcelain dags plugins include deploy/image 2>/dev/null),-changed)
COMMITTED = $(or $(shell git log -1 --format=%ct 2>/dev/null),0)

clean: $(INSTALLED) ## Stop the local servers and delete their data
	@$(BIN)/python -m sandbox clean

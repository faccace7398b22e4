# `make help` lists the targets. ARGS goes to the command behind the target, PACHON_FACILITY chooses the facility.
# WORKERS is the number of tests that run at a time: 3 for all of them (most wait for machines), one for some of them.

SHELL := /bin/bash
.DEFAULT_GOAL := setup
.SUFFIXES:

SYSTEM_PYTHON := /usr/bin/python3
BIN := .venv/bin
STAGE := infra/toolchain/stage.sh
APT ?= yes
WORKERS ?= $(if $(ARGS),0,3)
PYTEST := $(BIN)/python -m pytest --numprocesses $(WORKERS) --dist loadfile --no-loadscope-reorder

# They run side by side, the longest first.
CHECKS := check-ansible check-types check-lint check-format check-imports check-yaml check-schemas check-status check-catalogue

.PHONY: setup up down check test bench-up faults kills lock clean help $(CHECKS)

setup: ## Set up what the project needs on this machine (APT=no: install no Debian packages)
	@PYTHONPATH=src $(SYSTEM_PYTHON) -m infra.toolchain.setup $(if $(filter no,$(APT)),--no-apt)

up: setup ## Set up, then bring the facility up
	@$(BIN)/pachon up $(ARGS)

down: setup ## Take the facility's lab down; the caches stay
	@$(BIN)/pachon down $(ARGS)

check: setup ## Lint, format, types, imports, YAML, playbooks, schemas; all of them, also after a failure
	@$(MAKE) --no-print-directory --keep-going --jobs="$$(nproc)" --output-sync=target $(CHECKS)

check-lint:
	@$(STAGE) "ruff check" $(BIN)/ruff check --quiet .

check-format:
	@$(STAGE) "ruff format" $(BIN)/ruff format --quiet --check .

check-types:
	@$(STAGE) "mypy" $(BIN)/mypy

check-imports:
	@$(STAGE) "import-linter" $(BIN)/lint-imports

check-yaml:
	@$(STAGE) "yamllint" $(BIN)/yamllint --strict ci inventory playbooks

check-ansible: export PATH := $(CURDIR)/$(BIN):$(PATH)
# It has Ansible parse each role by itself, which needs no host, and would work out the inventory for each of them anew.
check-ansible: export ANSIBLE_INVENTORY := /dev/null
check-ansible:
	@$(STAGE) "ansible-lint" $(BIN)/ansible-lint --offline --nocolor -q playbooks

check-schemas:
	@$(STAGE) "schemas" $(BIN)/python -m pachon.definition.schema --check

check-catalogue:
	@$(STAGE) "catalogue" $(BIN)/pachon service lint

check-status:
	@$(STAGE) "status of services" $(BIN)/python -m pachon.definition.status --check

test: setup program-kube ## Set up and run all tests (ARGS="tests/unit -k lease" for some of them)
	@mkdir -p build && rm -f build/junit.xml
	@$(STAGE) "tests" $(PYTEST) --junitxml=build/junit.xml $(ARGS); status=$$?; \
	  $(BIN)/python -m infra.toolchain.junit build/junit.xml; exit $$status

faults: setup ## Kill and inject faults at every point, of which "make test" takes some
	@PACHON_FAULTS=all $(STAGE) "faults" $(BIN)/python -m pytest -m faults $(ARGS)

kills: setup ## Kill runs on files at every boundary, and list all faults ever found so (ARGS=--help; ARGS=POINT for one)
	@$(BIN)/python -m tests.faults.kills $(ARGS)

bench-%: setup ## Measure: bench-up, bench-… (each ends with one JSON line)
	@$(BIN)/python -m tests.bench.bench_$(subst -,_,$*) $(ARGS)

bench-up: setup
	@$(BIN)/python -m tests.bench.bench_up $(ARGS)

program-%: ## Make a program that only some facilities need: program-kube, program-coredns
	@PYTHONPATH=src $(SYSTEM_PYTHON) -m infra.toolchain.setup $*

lock: ## Write requirements.lock anew from pyproject.toml (ARGS=--upgrade: the newest versions)
	@PYTHONPATH=src $(SYSTEM_PYTHON) -m infra.toolchain.lockfile $(ARGS)

clean: ## Remove what checks, tests and builds left in the checkout (.venv and the caches stay)
	@rm -rf build .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis .ansible
	@find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +

help: ## List the targets
	@sed -nE 's/^([a-z%-]+):[^#]*## (.*)/\1\t\2/p' $(firstword $(MAKEFILE_LIST)) | expand -t 12

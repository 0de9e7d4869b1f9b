# Two commands do everything on a machine with Python 3.11: `make serve` and `make test`. `make` alone lists the rest.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

HOST ?= 127.0.0.1
PORT ?= 3000
DECK ?= models/cifar10-medium
DATA ?= data
ARGS ?=
JOBS ?= logical

.PHONY: help serve test lint format bench results deck flagship clean environment environment-serve

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-14s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

serve: environment-serve ## serve a deck on http://localhost:3000 (PORT=, HOST=, DECK=); no torch needed
	@test -f "$(DECK)/deck.json" || { echo "$(DECK)/deck.json is missing: name a deck folder with DECK="; exit 1; }
	@.venv-serve/bin/python -c 'import socket; socket.create_server(("$(HOST)", $(PORT))).close()' 2>/dev/null \
	  || { echo "$(HOST):$(PORT) is taken: choose another port with PORT="; exit 1; }
	@mkdir -p .venv-serve/bentoml-$(PORT)
	@echo "== serving $(DECK) on http://localhost:$(PORT) (stop with Ctrl-C); try: curl -F image=@photo.png localhost:$(PORT)/classify"
	@export CARDS_DECK_PATH="$(DECK)" BENTOML_HOME="$$PWD/.venv-serve/bentoml-$(PORT)" BENTOML_DO_NOT_TRACK=True OMP_NUM_THREADS=1; \
	  exec .venv-serve/bin/python -m bentoml serve serving.service:CardsDeck --host $(HOST) --port $(PORT)

test: environment ## make the full environment, run the linters, the type checker and every test
	@$(MAKE) --no-print-directory lint
	@echo "== tests"
	@OMP_NUM_THREADS=1 .venv/bin/python -m pytest -q -n $(JOBS) --maxprocesses 4 --dist loadfile --durations 10 $(ARGS)

lint: environment ## ruff, mypy --strict and the import contracts
	@echo "== ruff"
	@.venv/bin/python -m ruff check -q .
	@.venv/bin/python -m ruff format --check -q .
	@echo "== mypy"
	@.venv/bin/python -m mypy
	@echo "== import contracts"
	@.venv/bin/python -c 'import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports(no_logo=True))'

format: environment ## write the formatting that `make lint` asks for
	@.venv/bin/python -m ruff check -q --fix .
	@.venv/bin/python -m ruff format -q .

bench: environment ## measure augmentation, corruptions, gate, storage, engines and server, write benchmarks/results
	@for script in augmix corruptions gate storage engines serve; do OMP_NUM_THREADS=1 .venv/bin/python -m benchmarks.$$script; done

results: environment ## write the tables (README.md, models/README.md) from the reports, the example answer from the deck
	@.venv/bin/python -m eval.tables
	@OMP_NUM_THREADS=1 .venv/bin/python -m serving.example --write README.md

# glibc gives the memory of activations back to the system at every step otherwise: several times slower on some virtual machines.
deck flagship: export MALLOC_TRIM_THRESHOLD_=17179869184
deck flagship: export MALLOC_MMAP_THRESHOLD_=4294967296
deck: name = $(notdir $(patsubst %/,%,$(DECK)))
deck: environment ## train, pack and measure models/NAME by the recipe NAME, DECK's last part, then `make results` (hours); DATA= is the data root
	@.venv/bin/python -m cards_deck build "$(name)" --data "$(DATA)" $(ARGS)
	@.venv/bin/python -m eval "models/$(name)" --data "$(DATA)" --threads 2
	@$(MAKE) --no-print-directory results

flagship: environment ## train and pack models/cifar10-flagship, on a GPU; ARGS=--smoke tries every step anywhere; DATA= is the data root
	@.venv/bin/python -m cards_deck build cifar10-flagship --data "$(DATA)" $(ARGS)

clean: ## remove caches and build outputs; environments and results stay
	@rm -rf build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	@find . -name .git -prune -o -name '.venv*' -prune -o -name __pycache__ -type d -exec rm -rf {} +

environment:
	@.ci/environment .venv requirements/dev.txt requirements/dev-no-deps.txt

environment-serve:
	@.ci/environment .venv-serve requirements/serve.txt

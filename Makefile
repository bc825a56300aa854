# Two commands do all the set-up: `make demo` and `make test`. Both make .venv first where it is missing or out of date.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
export NO_ALBUMENTATIONS_UPDATE := 1

PYTEST_WORKERS ?= 2
SPHEREHEAD_SHARED ?= ../shared
DEMO ?= demo

.PHONY: help install demo test check lint types tests format clean

help: ## say what can be made
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "make %-8s %s\n", $$1, $$2}' Makefile

install: ## make .venv with the pinned packages and this checkout
	@.ci/install

demo: install ## build, verify and report a data set from real pictures
	@mkdir -p $(DEMO)/astronaut
	@.venv/bin/python -c 'from PIL import Image; from skimage import data; Image.fromarray(data.astronaut()).save("$(DEMO)/astronaut/astronaut.png")'
	.venv/bin/spherehead build-dataset $(DEMO)/astronaut $(wildcard $(SPHEREHEAD_SHARED)/photos) --out $(DEMO)/heads
	.venv/bin/spherehead shards verify $(DEMO)/heads --deep
	.venv/bin/spherehead shards ls $(DEMO)/heads
	@echo "open $(CURDIR)/$(DEMO)/heads/report/report.html"

test: install check tests ## lint, check types and run every test

check: lint types ## lint and check types, without tests

lint:
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .

types: # mypy wants a folder named like the package; strict where pyproject.toml says so
	@mkdir -p .typecheck && ln -sfn "$(CURDIR)" .typecheck/spherehead
	MYPYPATH=.typecheck .venv/bin/mypy $(foreach part,manifests datasets pipeline model commands cli __main__,-p spherehead.$(part))

tests:
	.venv/bin/pytest -q -n $(PYTEST_WORKERS) --dist loadfile

format: install ## rewrite the code in the agreed style
	.venv/bin/ruff check --fix .
	.venv/bin/ruff format .

clean: ## remove what the demo and the tools made, not .venv
	rm -rf $(DEMO) build dist .typecheck .mypy_cache .ruff_cache .pytest_cache .hypothesis

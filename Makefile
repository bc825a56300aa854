# Two commands do all the set-up: `make demo` and `make test`. Both make .venv first where it is missing or out of date.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
export NO_ALBUMENTATIONS_UPDATE := 1
unexport PYTHONDONTWRITEBYTECODE # hundreds of processes of the tests would each compile the package's 800 modules

PYTEST_WORKERS ?= 2
SPHEREHEAD_SHARED ?= ../shared
DEMO ?= demo
# a few people from all sides; assets come from ../shared where it is, else from the user's cache
PEOPLE ?= makehuman:count=24,views=12,size=128,light=raster,lighting=person,background=plain,people.hair=grown$(if $(wildcard $(SPHEREHEAD_SHARED)/assets/makehuman),$(comma)assets=$(SPHEREHEAD_SHARED)/assets/makehuman)
comma := ,

.PHONY: help install demo docs test test-slow check lint types tests format clean

help: ## say what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "make %-10s %s\n", $$1, $$2}' Makefile

install: ## make .venv with the pinned packages and this checkout
	@.ci/install

demo: install ## a data set from real pictures, one of rendered people, and minutes of training on it
	@mkdir -p $(DEMO)/astronaut
	@.venv/bin/python -c 'from PIL import Image; from skimage import data; Image.fromarray(data.astronaut()).save("$(DEMO)/astronaut/astronaut.png")'
	.venv/bin/spherehead build-dataset $(DEMO)/astronaut $(wildcard $(SPHEREHEAD_SHARED)/photos) --out $(DEMO)/heads
	.venv/bin/spherehead shards verify $(DEMO)/heads --deep
	.venv/bin/spherehead shards ls $(DEMO)/heads
	@if .venv/bin/spherehead build-dataset '$(PEOPLE)' --out $(DEMO)/people --preset frames --set frame.size=128; then \
	  .venv/bin/spherehead train --data $(DEMO)/people --preset tiny-64 --warm-start views --init tiny-64 --set batch=4 \
	    --set micro_batch=4 --set warm_start.generator_lr=0.002 --set warm_start.persons_lr=0.05 --set warm_start.views=1500 \
	    --set schedule.neural_resolution.begin=0 --set images=1500 --max-seconds 180 --workers 0 --out $(DEMO)/run && \
	  .venv/bin/spherehead generate --run $(DEMO)/run --seeds 0-3 --views 8 --orbit --out $(DEMO)/generated; \
	else echo "no rendered people: run .venv/bin/spherehead assets fetch makehuman, then make demo again"; fi
	.venv/bin/spherehead generate --seeds 0-3 --views 8 --orbit --out $(DEMO)/shipped
	@echo "open $(CURDIR)/$(DEMO)/heads/report/report.html"
	@ls -d $(CURDIR)/$(DEMO)/people/report/report.html $(CURDIR)/$(DEMO)/run/pictures $(CURDIR)/$(DEMO)/generated $(CURDIR)/$(DEMO)/shipped 2>/dev/null || true

docs: install ## build the documentation into site/
	NO_MKDOCS_2_WARNING=1 .venv/bin/mkdocs build --strict --quiet
	@echo "open $(CURDIR)/site/index.html"

test: install check tests ## lint, check types and run every test that is not slow

check: lint types ## lint and check types, without tests

lint:
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .

types: # mypy wants a folder named like the package; strict where pyproject.toml says so
	@mkdir -p .typecheck && ln -sfn "$(CURDIR)" .typecheck/spherehead
	MYPYPATH=.typecheck .venv/bin/mypy $(foreach part,manifests datasets pipeline model commands api cli __main__,-p spherehead.$(part))

tests test-slow: export OMP_NUM_THREADS := 1 # one a worker: threads of several workers would wait for each other
tests:
	.venv/bin/pytest -q -n $(PYTEST_WORKERS) --dist loadfile -m "not slow"

test-slow: install ## the slow tests: thousands of examples, kills, long runs; continuous integration runs them too
	.venv/bin/pytest -q -n $(PYTEST_WORKERS) --dist loadfile -m slow

format: install ## rewrite the code in the agreed style
	.venv/bin/ruff check --fix .
	.venv/bin/ruff format .

clean: ## remove what the demo and the tools made, not .venv
	rm -rf $(DEMO) site build dist .typecheck .mypy_cache .ruff_cache .pytest_cache .hypothesis

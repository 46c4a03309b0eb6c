# One command for each thing one does here; `make` alone lists them.
# PYTHON=/path/to/python chooses the interpreter; otherwise tools/make-venv does.

SHELL := /bin/sh
BIN := .venv/bin

# Where the demo writes; notebooks to run (all); QUICK=1: run them on less, to a throw-away copy.
OUT ?= demo
NB ?=
QUICK ?=
# Benchmarks to run (all), and what is passed to them: make bench NAME=speed ARGS=--help
NAME ?= $(basename $(notdir $(shell grep -l '__name__ == "__main__"' benchmarks/*.py 2>/dev/null))) \
        $(patsubst benchmarks/%/__main__.py,%,$(wildcard benchmarks/*/__main__.py))
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help demo check test test-slow docs notebooks figures bench pins clean

help: ## list the commands
	@echo "make TARGET:"
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1|\2/p' Makefile | while IFS='|' read -r name text; do printf '  %-11s %s\n' "$$name" "$$text"; done

# A stamp for each set of dependencies: a second call installs nothing until these files change.
.venv/.installed-%: pyproject.toml constraints.txt tools/make-venv
	@PYTHON='$(PYTHON)' $(SHELL) tools/make-venv $*

demo: .venv/.installed-base ## the main job on the bundled tables: forecasts, exponents, crossover, decision, into demo/ (OUT=folder)
	@$(BIN)/bayescale demo -o '$(OUT)'

check: .venv/.installed-dev ## lint, format, types, and which layer may import which
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: .venv/.installed-dev ## the tests, and the examples in the docstrings
	$(BIN)/pytest --doctest-modules --durations=10 -m "not slow" -n 2 --dist loadfile tests bayescale $(ARGS)

test-slow: .venv/.installed-dev ## the tests that take long: coverage, recovery, ten seeds
	$(BIN)/pytest --durations=10 -m slow tests $(ARGS)

docs: .venv/.installed-docs ## the site, into docs/_build/html
	$(BIN)/python -m sphinx -W --keep-going -b html docs docs/_build/html

notebooks: .venv/.installed-notebooks ## run the notebooks and keep their output (QUICK=1: only see that they run)
	@$(BIN)/python tools/run_notebooks.py $(if $(QUICK),--quick) $(NB)

figures: demo ## the figures of the README, from the demo, and of the site
	mkdir -p docs/figures
	cp '$(OUT)/curves.png' docs/figures/curves.png
	$(BIN)/python docs/figures/two_sizes.py

bench: .venv/.installed-bench ## what is claimed, measured (NAME=speed: one of them; ARGS: its options)
	@for name in $(NAME); do echo "==> benchmarks.$$name"; $(BIN)/python -m benchmarks.$$name $(ARGS) || exit; done

pins: .venv/.installed-dev ## resolve constraints.txt anew (KEEP=1: only add what is missing)
	$(BIN)/python tools/pin.py $(if $(KEEP),--keep)

clean: ## remove caches and what was built; .venv and demo/ stay
	rm -rf build dist docs/_build docs/reference/generated .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
	find bayescale tests benchmarks tools docs notebooks -name __pycache__ -type d -prune -exec rm -rf {} +

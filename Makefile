# Set-up and the project's commands. `make` alone lists them.
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: help demo test notebooks serve lint types docs reproduce clean

help: ## List the commands
	@awk -F':.*## ' '/^[a-z]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# Of a set-up that broke off nothing is taken over: half a package passes for a whole one.
$(VENV)/done: requirements.txt requirements-dev.txt
	@[ -e $@ ] || rm -rf $(VENV)
	@rm -f $@
	@if command -v uv >/dev/null; then \
	  uv venv --quiet --allow-existing --python $(PYTHON) $(VENV) && \
	  uv pip install --quiet --compile-bytecode --python $(BIN)/python -r requirements-dev.txt; \
	else \
	  $(PYTHON) -m venv $(VENV) && \
	  $(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt; \
	fi
	@touch $@

demo: $(VENV)/done ## Train, evaluate, export and ask every app on its default data (minutes)
	@$(BIN)/python -m benchmarks.demo

test: $(VENV)/done ## Run the tests
	@$(BIN)/python -m pytest -m "not data" -n 2 --dist worksteal

notebooks: $(VENV)/done ## Execute the notebooks (minutes)
	@cd notebooks && ls *.py | \
	  PATH="$(CURDIR)/$(BIN):$$PATH" xargs -n 1 -P 2 jupytext --to ipynb --execute

serve: MODELS = $(wildcard runs/demo/*/saved_model)
serve: $(VENV)/done ## Try the demo's models on a page at http://127.0.0.1:7860
	@test -n "$(MODELS)" || \
	  { echo "expected models in runs/demo, found none: run make demo first" >&2; exit 2; }
	@$(BIN)/python -m serving.page $(foreach model,$(MODELS),--model $(notdir $(model:/saved_model=))=$(model))

lint: $(VENV)/done ## Check style and format
	@$(BIN)/ruff check . && $(BIN)/ruff format --check .

types: $(VENV)/done ## Check types
	@$(BIN)/pyright

docs: $(VENV)/done ## Build the documentation as a site in runs/site; dead links are errors
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet

reproduce: $(VENV)/done ## Measure every app with three seeds and write the tables of their READMEs (an hour)
	@$(BIN)/python -m benchmarks.reproduce

clean: ## Remove the environment and the demo's runs
	rm -rf $(VENV) runs

# Set-up and the project's commands. `make` alone lists them.
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: help demo test notebooks serve lint types docs reproduce clean

help: ## List the commands
	@awk -F':.*## ' '/^[a-z]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

ifneq ($(shell command -v uv),)
VENV_COMMAND := uv venv --quiet --allow-existing --python $(PYTHON) $(VENV)
INSTALL := uv pip install --quiet --compile-bytecode --python $(BIN)/python
else
VENV_COMMAND := $(PYTHON) -m venv $(VENV)
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check
endif

# What a user needs. After an interrupted set-up start again: half a package passes for a whole one.
$(VENV)/done: requirements.txt requirements-data.txt
	@echo "set-up: installs requirements.txt and requirements-data.txt in $(VENV) (minutes, once)"
	@[ -e $@ ] || rm -rf $(VENV)
	@rm -f $@
	@$(VENV_COMMAND)
	@$(INSTALL) -r requirements.txt
	@$(INSTALL) --no-deps -r requirements-data.txt
	@touch $@

# What tests, documentation and notebooks need beside it.
$(VENV)/done-dev: $(VENV)/done requirements-dev.txt
	@echo "set-up: installs requirements-dev.txt in $(VENV) (minutes, once)"
	@$(INSTALL) -r requirements-dev.txt
	@touch $@

demo: $(VENV)/done ## Train, evaluate, export and ask every app on its default data (minutes)
	@$(BIN)/python -m benchmarks.demo

test: $(VENV)/done-dev ## Run the tests
	@$(BIN)/python -m pytest -m "not data" -n 2 --dist worksteal

# The longest are the last; they start first, so that none of two has to wait for the other. With
# several threads OpenBLAS would spin while the other has the core. 255 ends xargs: what went wrong
# is then the last that is printed.
notebooks: $(VENV)/done-dev ## Execute the notebooks (minutes)
	@cd notebooks && ls -r *.py | \
	  OMP_NUM_THREADS=1 PATH="$(CURDIR)/$(BIN):$$PATH" xargs -P 2 -I NOTEBOOK \
	  sh -c 'jupytext --to ipynb --execute NOTEBOOK || exit 255'

serve: MODELS = $(wildcard runs/demo/*/saved_model)
serve: $(VENV)/done ## Try the demo's models on a page at http://127.0.0.1:7860
	@test -n "$(MODELS)" || \
	  { echo "expected models in runs/demo, found none: run make demo first" >&2; exit 2; }
	@$(BIN)/python -m serving.page $(foreach model,$(MODELS),--model $(notdir $(model:/saved_model=))=$(model))

lint: $(VENV)/done-dev ## Check style and format
	@$(BIN)/ruff check . && $(BIN)/ruff format --check .

types: $(VENV)/done-dev ## Check types
	@$(BIN)/pyright

# Not --quiet: a dead link would then be no error.
docs: $(VENV)/done-dev ## Build the documentation in runs/site, with the notebooks that are executed; dead links are errors
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build

reproduce: $(VENV)/done ## Measure every app with three seeds and write the tables of their READMEs (an hour)
	@$(BIN)/python -m benchmarks.reproduce

clean: ## Remove the environment and the demo's runs
	rm -rf $(VENV) runs

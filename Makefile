# What people do in this checkout, by one word each. The scripts behind the words work without make as well.
.DEFAULT_GOAL := help
.PHONY: help setup test lint docs site bench demo

help: ## list these words
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-6s  %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: ## make .venv hold the pinned packages and the project itself
	./scripts/setup.sh

test: ## check style, types and behaviour on real servers (arguments: make test ARGS='-k ledger')
	./scripts/test.sh $(ARGS)

lint: ## check Dockerfiles, shell scripts, YAML and compose files
	./scripts/lint.sh

docs: setup ## write the generated parts of the documentation anew
	.venv/bin/python scripts/docs.py

site: ## build the documentation as a site, in site/
	./scripts/site.sh

bench: ## measure against other ways of moving a database (long)
	./scripts/benchmark.sh $(ARGS)

demo: ## move a sample application to a PostgreSQL of its own
	./scripts/demo.sh $(ARGS)

#!/usr/bin/env bash
# Sets up what is needed, then checks style, types and behaviour. Arguments go to pytest: ./scripts/test.sh -k embedded
# What needs a container engine is left to scripts/e2e.sh.
set -euo pipefail
cd -P "$(dirname "${BASH_SOURCE[0]}")/.."
unset PYTHONPATH PYTHONHOME
# The tests start hundreds of commands, and each would compile the package anew.
unset PYTHONDONTWRITEBYTECODE

./scripts/setup.sh
.venv/bin/python -m ruff check
.venv/bin/python -m ruff format --check
.venv/bin/python -m mypy
# As many at a time as there are processors: most of them wait for a server. -n 0 runs them one after the other.
exec .venv/bin/python -m pytest --numprocesses auto --ignore tests/e2e "$@"

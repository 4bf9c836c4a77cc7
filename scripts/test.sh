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
said=$(mktemp)
.venv/bin/python -m mypy >"$said" 2>&1 & # it has one processor, and the tests leave some of the others' time
types=$!
# One more at a time than there are processors, because some wait for a time or for a fault; who has nothing left takes
# over what another has still to do. -n 0 runs them one after the other.
processors=$(getconf _NPROCESSORS_ONLN 2>/dev/null || printf 2)
code=0
.venv/bin/python -m pytest --numprocesses $((processors + 1)) --dist worksteal --ignore tests/containers "$@" || code=$?
wait "$types" || code=$?
cat "$said"
rm "$said"
exit "$code"

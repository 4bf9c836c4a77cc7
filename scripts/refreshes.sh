#!/usr/bin/env bash
# Tries databases, drawn and changed at random, with `run --refresh`: scripts/refreshes.sh [COUNT] [FIRST]
# COUNT (default 2000) databases from number FIRST (default 1) on; some two seconds of a processor each. The same number
# is always the same database and the same changes: scripts/refreshes.sh 1 4711 tries one that failed again, by itself.
set -euo pipefail
cd -P "$(dirname "${BASH_SOURCE[0]}")/.."
unset PYTHONPATH PYTHONHOME

export MIGRATOR_TEST_REFRESHES="${1:-2000}" MIGRATOR_TEST_FIRST_REFRESH="${2:-1}"
exec "${PYTHON:-.venv/bin/python}" -m pytest -q --numprocesses auto tests/scenarios/refresh/test_random_changes.py "${@:3}"

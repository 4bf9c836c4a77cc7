#!/usr/bin/env bash
# Tries small whole situations, drawn at random, with the real command: scripts/situations.sh [COUNT] [FIRST]
# COUNT (default 3000) situations from number FIRST (default 1) on; a second and a half of a processor each. The same
# number is always the same situation: scripts/situations.sh 1 4711 tries one that failed again, by itself.
set -euo pipefail
cd -P "$(dirname "${BASH_SOURCE[0]}")/.."
unset PYTHONPATH PYTHONHOME

export MIGRATOR_TEST_SITUATIONS="${1:-3000}" MIGRATOR_TEST_FIRST_SITUATION="${2:-1}"
exec "${PYTHON:-.venv/bin/python}" -m pytest -q --numprocesses auto tests/scenarios/situations "${@:3}"

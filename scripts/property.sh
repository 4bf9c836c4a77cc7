#!/usr/bin/env bash
# Tries more than 100,000 random values of every storage class against every type: scripts/property.sh [BATCHES]
# A batch is six tables, some 700 values, and about five seconds; memory stays below 500 MB. Start it with --hypothesis-seed=N to repeat a run.
set -euo pipefail
cd "$(dirname "$0")/.."

batches=150
if [[ ${1:-} =~ ^[0-9]+$ ]]; then
  batches=$1
  shift
fi
export MIGRATOR_TEST_BATCHES="$batches"
exec "${PYTHON:-.venv/bin/python}" -m pytest -q --hypothesis-show-statistics tests/test_property.py "$@"

#!/usr/bin/env bash
# Tries more than 100,000 random values of every storage class against every type, random constraints on random tables,
# and random guards (keys, CHECKs, foreign keys, defaults), and the way back with other columns: scripts/property.sh
# [BATCHES]. For the way back alone: MIGRATOR_TEST_SEEDS=5,6 pytest tests/scenarios/rollback/test_rollback_property.py
# A batch is six tables, some 700 values, and twelve tables with constraints, and twelve with guards, and takes some
# fifteen seconds. Fifty of them are a round, a process of its own, since hypothesis remembers every example: so memory
# stays below 500 MB. --hypothesis-seed=N repeats a round.
set -euo pipefail
cd "$(dirname "$0")/.."

batches=160
if [[ ${1:-} =~ ^[0-9]+$ ]]; then
  batches=$1
  shift
fi
for ((left = batches; left > 0; left -= 50)); do
  MIGRATOR_TEST_BATCHES=$((left < 50 ? left : 50)) \
    "${PYTHON:-.venv/bin/python}" -m pytest -q --hypothesis-show-statistics tests/scenarios/test_property.py \
    tests/scenarios/test_property_constraints.py tests/scenarios/test_property_guards.py "$@"
  # Two databases of 500 random columns, other ones in each round.
  MIGRATOR_TEST_SEEDS=$RANDOM,$RANDOM \
    "${PYTHON:-.venv/bin/python}" -m pytest -q tests/scenarios/rollback/test_rollback_property.py
done

#!/usr/bin/env bash
# The long version of tests/scenarios/interrupted: kills, crashes, cuts and damaged files by the
# hundred. ./scripts/torture.sh [COUNT]
# COUNT (default 1000) is the number of kills; a quarter as many runs meet each of the other accidents. It takes hours.
set -euo pipefail
cd -P "$(dirname "${BASH_SOURCE[0]}")/.."
unset PYTHONPATH PYTHONHOME

./scripts/setup.sh
count="${1:-1000}"
fewer="$((count / 4 + 1))"
export MIGRATOR_TEST_KILLS="$count" MIGRATOR_TEST_STOPS="$fewer" MIGRATOR_TEST_TERMINATIONS="$fewer"
export MIGRATOR_TEST_CUTS="$fewer" MIGRATOR_TEST_CORRUPTIONS="$((count * 3))" MIGRATOR_TEST_REFRESH_KILLS="$count"
exec .venv/bin/python -m pytest tests/scenarios/interrupted tests/scenarios/refresh/test_kills.py --numprocesses auto -q

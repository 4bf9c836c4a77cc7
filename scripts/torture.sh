#!/usr/bin/env bash
# The long version of tests/test_resume.py: kills and cut connections by the hundred. ./scripts/torture.sh [COUNT]
# COUNT (default 1000) is the number of kills; a quarter as many runs lose their connections. It takes hours.
set -euo pipefail
cd -P "$(dirname "${BASH_SOURCE[0]}")/.."
unset PYTHONPATH PYTHONHOME

./scripts/setup.sh
count="${1:-1000}"
MIGRATOR_TEST_KILLS="$count" MIGRATOR_TEST_CUTS="$((count / 4 + 1))" \
    exec .venv/bin/python -m pytest tests/test_resume.py -k "killed or terminated" -q

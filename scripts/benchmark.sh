#!/usr/bin/env bash
# Measures ways from SQLite to PostgreSQL against each other: ./scripts/benchmark.sh --help
set -euo pipefail
cd -P "$(dirname "${BASH_SOURCE[0]}")/.."
unset PYTHONPATH PYTHONHOME

./scripts/setup.sh
PYTHONPATH="$PWD:$PWD/scripts" exec .venv/bin/python -m benchmark "$@"

#!/usr/bin/env bash
# Measures ways from SQLite to PostgreSQL against each other: ./scripts/benchmark.sh --help
set -euo pipefail
cd -P "$(dirname "${BASH_SOURCE[0]}")/.."
# Where Python may not keep what it compiles, each run would compile every module anew; the image has them compiled.
unset PYTHONPATH PYTHONHOME PYTHONDONTWRITEBYTECODE

./scripts/setup.sh
PYTHONPATH="$PWD:$PWD/scripts" exec .venv/bin/python -m benchmark "$@"

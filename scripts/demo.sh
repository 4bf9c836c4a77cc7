#!/usr/bin/env bash
# Sets up what is needed, then moves a sample application to a PostgreSQL server of its own: ./scripts/demo.sh --help
set -euo pipefail
cd -P "$(dirname "${BASH_SOURCE[0]}")/.."
unset PYTHONPATH PYTHONHOME

./scripts/setup.sh
exec .venv/bin/migrator demo "$@"

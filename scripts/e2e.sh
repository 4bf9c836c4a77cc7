#!/usr/bin/env bash
# Drives the compose files on a real container engine (tests/containers). Provides an engine where none runs and the machine
# allows it; where none can be had, the tests are skipped with the reason. Arguments go to pytest. With --prepare alone
# it makes everything ready and runs no test.
set -euo pipefail
cd -P "$(dirname "${BASH_SOURCE[0]}")/.."
unset PYTHONPATH PYTHONHOME

./scripts/container/engine.sh up || (($? == 3))
if [[ ${1:-} == --prepare ]]; then
    ! docker info >/dev/null 2>&1 || docker build --quiet --file Dockerfile.migrate --tag migrator-e2e . >/dev/null
    exit
fi
./scripts/setup.sh
# More at a time than there are processors: most of what they do is waiting. By file, because the tests of one may share
# an installation.
exec .venv/bin/python -m pytest --numprocesses 4 --dist loadfile tests/containers "$@"

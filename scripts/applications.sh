#!/usr/bin/env bash
# Moves applications that nobody here wrote: installs each in a virtual environment of its own, fills it, migrates it and
# goes on with it. ./scripts/applications.sh [NAME ...] [-- PYTEST-ARGUMENT ...]
# A name is that of a folder in tests/scenarios/apps; without any all of them are tried, which takes gigabytes and long.
# The environments are kept in $MIGRATOR_APPLICATIONS_HOME, or else in .venv/applications.
set -euo pipefail
cd -P "$(dirname "${BASH_SOURCE[0]}")/.."
unset PYTHONPATH PYTHONHOME

folders=()
while (($#)); do
    if [[ $1 == -- ]]; then
        shift
        break
    fi
    if [[ ! -d tests/scenarios/apps/$1 ]]; then
        printf '%s\n' "No application is called $1; these are there:" >&2
        ls tests/scenarios/apps >&2
        exit 2
    fi
    folders+=("tests/scenarios/apps/$1")
    shift
done
((${#folders[@]})) || folders=(tests/scenarios/apps/*/)

./scripts/setup.sh
# Their paths are named: that alone lets pytest collect those that aren't in every run. One after the other, since some
# need much memory.
exec .venv/bin/python -m pytest --numprocesses 0 "${folders[@]}" "$@"

#!/usr/bin/env bash
# Makes .venv-NAME hold what requirements/NAME.txt pins: scripts/tools.sh NAME. These programs are kept apart from the
# tests' own packages, since their dependencies may contradict those.
set -euo pipefail
cd -P "$(dirname "${BASH_SOURCE[0]}")/.."
unset PYTHONPATH PYTHONHOME

folder=.venv-$1 requirements=requirements/$1.txt
wanted=$(cksum <"$requirements")
if [[ $(cat "$folder/installed" 2>/dev/null) != "$wanted" ]]; then
    python3 -m venv --clear "$folder"
    "$folder/bin/python" -m pip install --quiet --no-input --disable-pip-version-check \
        --require-hashes --only-binary :all: --requirement "$requirements"
    printf '%s\n' "$wanted" >"$folder/installed"
fi

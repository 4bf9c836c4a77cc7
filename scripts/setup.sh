#!/usr/bin/env bash
# Makes .venv in the checkout hold what requirements/test.txt pins, and the package itself. Needs any Python from 3.11
# and an index to install from, on the first run; later runs find that nothing changed and end at once.
set -euo pipefail
cd -P "$(dirname "${BASH_SOURCE[0]}")/.."
unset PYTHONPATH PYTHONHOME # they would let other packages in

give_up() {
    printf '%s\n' "$@" >&2
    exit 2
}

# Prints the first Python that is new enough and can make a virtual environment. A command of the right name is not
# enough: it may be a version manager's that only says that this version is not selected.
find_python() {
    local candidate without_venv=
    for candidate in python3.13 python3.12 python3.11 python3; do
        "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || continue
        if "$candidate" -c 'import ensurepip, venv' 2>/dev/null; then
            printf '%s\n' "$candidate"
            return
        fi
        without_venv=${without_venv:-$candidate}
    done
    [[ -z $without_venv ]] || give_up "$without_venv cannot make virtual environments: its modules venv and ensurepip are missing." \
        "On Debian and Ubuntu they are a package of their own: apt-get install python3-venv"
    give_up "Python 3.11 or newer is needed, and python3.13, python3.12, python3.11 and python3 are none." \
        "Install it, on Debian and Ubuntu with: apt-get install python3 python3-venv"
}

# Programs in a virtual environment name its path, so one that was moved or copied with the checkout is made anew, as is
# one whose Python is gone.
if [[ $(.venv/bin/pip --version 2>/dev/null) != *" $PWD/.venv/"* ]]; then
    python=$(find_python)
    printf 'Setting up .venv with %s, once; this takes a minute or two ...\n' "$("$python" --version)" >&2
    "$python" -m venv --clear .venv
fi

# Written last, so that a run that was interrupted is done again.
stamp=.venv/installed
wanted=$(cat requirements/test.txt pyproject.toml | cksum)
if [[ $(cat "$stamp" 2>/dev/null) != "$wanted" ]]; then
    install=(.venv/bin/python -m pip install --quiet --no-input --disable-pip-version-check)
    "${install[@]}" --require-hashes --requirement requirements/test.txt
    # What builds the package is pinned in the lock too; nothing unpinned is fetched for it.
    "${install[@]}" --no-deps --no-build-isolation --editable .
    printf '%s\n' "$wanted" >"$stamp"
fi

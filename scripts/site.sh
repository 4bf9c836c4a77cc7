#!/usr/bin/env bash
# Builds the documentation into site/, in a virtual environment of its own. A link or an anchor that leads nowhere, a page
# that the navigation doesn't have, and a page that would fetch something from elsewhere make it fail.
set -euo pipefail
cd -P "$(dirname "${BASH_SOURCE[0]}")/.."
unset PYTHONPATH PYTHONHOME

stamp=.venv-docs/installed
wanted=$(cksum <requirements/docs.txt)
if [[ $(cat "$stamp" 2>/dev/null) != "$wanted" ]]; then
    python3 -m venv --clear .venv-docs
    .venv-docs/bin/python -m pip install --quiet --no-input --disable-pip-version-check \
        --require-hashes --only-binary :all: --requirement requirements/docs.txt
    printf '%s\n' "$wanted" >"$stamp"
fi

# The variable silences an announcement of the theme that is no warning about these pages.
NO_MKDOCS_2_WARNING=1 .venv-docs/bin/python -m mkdocs build --strict --clean
if grep -rnoE '(src|href)="(https?:)?//[^"]*\.(js|css|woff2?)"|fonts\.googleapis' site --include '*.html' --include '*.css'; then
    echo 'These pages would fetch something from elsewhere.' >&2
    exit 1
fi

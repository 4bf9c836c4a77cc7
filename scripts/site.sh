#!/usr/bin/env bash
# Builds the documentation into site/, in a virtual environment of its own. A link or an anchor that leads nowhere, a page
# that the navigation doesn't have, and a page that would fetch something from elsewhere make it fail.
set -euo pipefail
cd -P "$(dirname "${BASH_SOURCE[0]}")/.."
unset PYTHONPATH PYTHONHOME

./scripts/tools.sh docs

# The variable silences an announcement of the theme that is no warning about these pages.
NO_MKDOCS_2_WARNING=1 .venv-docs/bin/python -m mkdocs build --strict --clean
if grep -rnoE '(src|href)="(https?:)?//[^"]*\.(js|css|woff2?)"|fonts\.googleapis' site --include '*.html' --include '*.css'; then
    echo 'These pages would fetch something from elsewhere.' >&2
    exit 1
fi

#!/usr/bin/env bash
# Checks what isn't Python: Dockerfiles, shell scripts, YAML, and the compose files where Compose is installed.
set -euo pipefail
cd -P "$(dirname "${BASH_SOURCE[0]}")/.."
unset PYTHONPATH PYTHONHOME

stamp=.venv-lint/installed
wanted=$(cksum <requirements/lint.txt)
if [[ $(cat "$stamp" 2>/dev/null) != "$wanted" ]]; then
    python3 -m venv --clear .venv-lint
    .venv-lint/bin/python -m pip install --quiet --no-input --disable-pip-version-check \
        --require-hashes --only-binary :all: --requirement requirements/lint.txt
    printf '%s\n' "$wanted" >"$stamp"
fi

git ls-files -z '*Dockerfile*' | xargs -0 .venv-lint/bin/hadolint
git ls-files -z '*.sh' .ci/run | xargs -0 .venv-lint/bin/shellcheck
git ls-files -z '*.yml' '*.yaml' | xargs -0 .venv-lint/bin/yamllint --strict --config-data \
    '{extends: default, rules: {line-length: {max: 120}, document-start: disable}}'

compose=(--file docker-compose.prod.yml)
for program in 'docker compose' docker-compose; do
    $program version >/dev/null 2>&1 || continue
    $program "${compose[@]}" config --quiet
    $program "${compose[@]}" --file docker-compose.migrate.yml config --quiet
done

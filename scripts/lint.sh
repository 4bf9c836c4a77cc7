#!/usr/bin/env bash
# Checks what isn't Python: Dockerfiles, shell scripts, YAML, and the compose files where Compose is installed.
set -euo pipefail
cd -P "$(dirname "${BASH_SOURCE[0]}")/.."
unset PYTHONPATH PYTHONHOME

./scripts/tools.sh lint

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

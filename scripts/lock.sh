#!/usr/bin/env bash
# Writes the locks under requirements/ anew from pyproject.toml. Pins that still fit are kept; raise them all with
# --upgrade, or one with --upgrade-package NAME. Takes the addresses of package indexes from pip's own configuration and
# writes none of them down. `--only NAME` writes one of them, for example `--only applications/optuna`.
set -euo pipefail
cd -P "$(dirname "${BASH_SOURCE[0]}")/.."

only=
if [[ ${1:-} == --only ]]; then
    only=requirements/$2.txt
    shift 2
fi

# The oldest Python that is supported: what resolves there resolves on the newer ones, not the other way round.
python=python3.11
workshop=$(mktemp -d)
trap 'rm -rf "$workshop"' EXIT
"$python" -m venv "$workshop"
"$workshop/bin/python" -m pip install --quiet --disable-pip-version-check pip-tools==7.6.2

export CUSTOM_COMPILE_COMMAND=./scripts/lock.sh # what the head of each lock tells the reader to run
lock() {
    [[ -z $only || " $* " == *" $only "* ]] || return 0
    "$workshop/bin/pip-compile" --quiet --generate-hashes --strip-extras --allow-unsafe \
        --no-emit-index-url --no-emit-trusted-host --no-emit-find-links "$@"
}
lock "$@" --output-file requirements/runtime.txt pyproject.toml
# pip-compile doesn't know [dependency-groups] yet, so they reach it on standard input (`-r -`). The scripts install the package
# itself without build isolation, so what builds it is locked as well.
"$python" -c 'import tomllib
project = tomllib.load(open("pyproject.toml", "rb"))
groups = project["dependency-groups"]
print(*groups["test"], *groups["lint"], *project["build-system"]["requires"], sep="\n")' >"$workshop/groups.in"
lock "$@" --output-file requirements/test.txt --extra demo --extra otel pyproject.toml - <"$workshop/groups.in"
# The container's build stage needs nothing but that.
lock "$@" --output-file requirements/build.txt --only-build-deps --build-deps-for wheel pyproject.toml
# What it tries the finished image with, and the application of the tests on containers.
lock "$@" --output-file requirements/self-test.txt requirements/self-test.in
lock "$@" --output-file tests/containers/api/requirements.txt tests/containers/api/requirements.in
lock "$@" --output-file examples/notes/requirements.txt examples/notes/requirements.in
lock "$@" --output-file requirements/lint.txt requirements/lint.in
lock "$@" --output-file requirements/docs.txt requirements/docs.in
# Applications that nobody here wrote, whose data tests/scenarios/apps moves. Each has an environment of its own. What an
# application asks for and what is tried of it doesn't need is named in NAME.without, for the resolver's --override.
"$workshop/bin/python" -m pip install --quiet --disable-pip-version-check uv
index=$("$workshop/bin/python" -m pip config get global.index-url 2>/dev/null || true)
[[ -z $index ]] || export UV_DEFAULT_INDEX=${UV_DEFAULT_INDEX:-$index}
export UV_CUSTOM_COMPILE_COMMAND=$CUSTOM_COMPILE_COMMAND
for application in requirements/applications/*.in; do
    output=${application%.in}.txt
    without=()
    [[ ! -e ${application%.in}.without ]] || without=(--override "${application%.in}.without")
    [[ -n $only && $only != "$output" ]] || "$workshop/bin/uv" pip compile --quiet --python-version 3.11 --generate-hashes \
        --only-binary :all: "${without[@]}" "$@" --output-file "$output" "$application"
done

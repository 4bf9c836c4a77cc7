#!/usr/bin/env bash
# Usage: kubernetes-test.sh [--record] [arguments for pytest]
#
# Runs the manifests of docs/deployment/kubernetes on a real cluster: tests/containers/test_kubernetes.py. On the one that
# KUBECONFIG names, whose nodes have MIGRATOR_IMAGE and POSTGRES_IMAGE or can pull them; or, as root on Debian 12, on a
# node that is built here once (about seven minutes) and runs for as long as the tests do. --record writes what was seen
# into TESTED.md.
set -euo pipefail
cd -P "$(dirname "${BASH_SOURCE[0]}")/.."

recording=
if [[ ${1:-} == --record ]]; then
    recording=1
    shift
fi
./scripts/setup.sh
PATH=$PWD/.venv/bin:$PATH # kubectl is there
export MIGRATOR_IMAGE=${MIGRATOR_IMAGE:-dryad-migrator:latest} POSTGRES_IMAGE=${POSTGRES_IMAGE:-postgres:15-alpine}

place='the cluster that KUBECONFIG named'
local_node() {
    place='a node of its own, built from packages of Debian 12 as are the base images on it'
    local home=${XDG_CACHE_HOME:-$HOME/.cache}/migrator-kubernetes socket=/run/migrator-kubernetes/containerd.sock
    ./scripts/container/engine.sh up
    docker image inspect "$MIGRATOR_IMAGE" >/dev/null 2>&1 || docker build --file Dockerfile.migrate \
        --build-arg PYTHON_IMAGE="${PYTHON_IMAGE:-python:3.11-slim-bookworm}" --tag "$MIGRATOR_IMAGE" .
    docker build --quiet --tag migrator-pause:local - <<'DOCKERFILE'
FROM debian:bookworm-slim
ENTRYPOINT ["/bin/sh", "-c", "trap exit TERM INT; sleep infinity & wait"]
DOCKERFILE
    [[ -x $home/bin/kubelet ]] || ./scripts/kubernetes/build.sh "$home"
    ./scripts/kubernetes/node.sh "$home" &
    node=$!
    trap 'kill "$node"; wait "$node" || :' EXIT
    export KUBECONFIG=$home/data/kubeconfig
    until kubectl get nodes 2>/dev/null | grep -q ' Ready'; do
        kill -0 "$node" # or there is nothing to wait for
        sleep 0.5
    done
    docker save migrator-pause:local "$MIGRATOR_IMAGE" "$POSTGRES_IMAGE" \
        | ctr --address "$socket" --namespace k8s.io images import - >/dev/null
}

[[ -n ${KUBECONFIG:-} ]] || local_node

MIGRATOR_RECORD=$(mktemp)
export MIGRATOR_RECORD
status=0
python -m pytest -p no:cacheprovider tests/containers/test_kubernetes.py "$@" || status=$?

server=$(kubectl get nodes -o jsonpath='{.items[0].status.nodeInfo.kubeletVersion}')
runtime=$(kubectl get nodes -o jsonpath='{.items[0].status.nodeInfo.containerRuntimeVersion}')
seen=$(cat "$MIGRATOR_RECORD")
rm "$MIGRATOR_RECORD"
printf 'Kubernetes %s, %s\n%s\n' "$server" "$runtime" "$seen"
if [[ -n $recording && $status == 0 ]]; then
    cat >docs/deployment/kubernetes/TESTED.md <<PAGE
# Tested

What \`./scripts/kubernetes-test.sh --record\` saw on a real cluster; the script writes this page. The manifests are
those of this folder. \`tests/fixtures/fix_cluster.py\` puts in the image, the server's address and names of a test's own, and
leaves out what the server is too old for.

- On $(date -u +%Y-%m-%d), $place.
- Kubernetes $server, $runtime, image \`$POSTGRES_IMAGE\`, $(migrator --version).
- \`podFailurePolicy\` is known from 1.26 on, \`podReplacementPolicy\` from 1.29 on. "policy: …" is what the rules of
  the manifest say about the pod that was seen, its exit code and conditions, by the algorithm in
  \`tests/fixtures/fix_kubernetes.py\`; on an older server that is all that can be said, and the test lets one failure be
  enough (\`backoffLimit: 0\`).

| what was done | what was seen |
| --- | --- |
$seen
PAGE
fi
exit "$status"

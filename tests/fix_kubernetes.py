"""
Kubernetes for tests: manifests as ``kubectl kustomize`` renders them, and the rules that the API server has for a Job.

Rendering needs ``kubectl``, which the test requirements bring, and no cluster.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
KUBERNETES = ROOT / "docs" / "deployment" / "kubernetes"
Manifest = dict[str, Any]


def kubectl() -> str:
    """Return the program, from the test requirements or the machine; without one the test is skipped, but not in CI."""
    beside = Path(sys.executable).parent / "kubectl"
    found = str(beside) if beside.exists() else shutil.which("kubectl")
    if found is None:
        missing = pytest.fail if os.environ.get("CI") else pytest.skip
        missing("no kubectl: ./scripts/setup.sh brings it")
    return str(found)


def render(folder: Path) -> list[Manifest]:
    """Return what a kustomization makes."""
    done = subprocess.run([kubectl(), "kustomize", folder], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return [manifest for manifest in yaml.safe_load_all(done.stdout) if manifest]


def render_with(components: list[str], folder: Path, onto: str = "production") -> list[Manifest]:
    """Return what an overlay makes with components of this repository; ``folder`` is empty and the caller's."""
    ways = {name: os.path.relpath(KUBERNETES / "components" / name, folder.resolve()) for name in components}
    kustomization = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": [os.path.relpath(KUBERNETES / "overlays" / onto, folder.resolve())],
        "components": list(ways.values()),
    }
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(kustomization), encoding="utf-8")
    return render(folder)


def one(manifests: list[Manifest], kind: str) -> Manifest:
    """Return the only manifest of a kind."""
    [found] = [manifest for manifest in manifests if manifest["kind"] == kind]
    return found


def pod_of(manifest: Manifest) -> Manifest:
    """Return the pod's spec of a Job or a Deployment."""
    spec: Manifest = manifest["spec"]["template"]["spec"]
    return spec


def containers_of(pod: Manifest) -> list[Manifest]:
    """Return the containers of a pod, those that come first included."""
    return [*pod.get("initContainers", []), *pod["containers"]]


def verdict(job: Manifest, pod: Manifest) -> str:
    """
    Return what the Job's podFailurePolicy does about a pod that failed: FailJob, Ignore or Count.

    The first rule that fits decides; Count is what happens without one. A pod has ``exit_codes`` by container, and the
    types of its ``conditions`` that are True.
    (kubernetes.io/docs/concepts/workloads/controllers/job, "Pod failure policy".)
    """
    for rule in job["spec"]["podFailurePolicy"]["rules"]:
        codes, conditions = rule.get("onExitCodes"), rule.get("onPodConditions", [])
        if codes is not None:
            seen = {
                c: code for c, code in pod["exit_codes"].items() if codes.get("containerName") in {None, c} and code
            }
            inside = [code in codes["values"] for code in seen.values()]
            if any(within == (codes["operator"] == "In") for within in inside):
                return str(rule["action"])
        if any(c["type"] in pod["conditions"] and c.get("status", "True") == "True" for c in conditions):
            return str(rule["action"])
    return "Count"


def broken_rules(job: Manifest) -> Iterator[str]:
    """Yield what the API server would refuse in a Job and a JSON schema can't: fields against each other, and words."""
    spec, pod = job["spec"], pod_of(job)
    restart = pod.get("restartPolicy")
    if restart not in {"Never", "OnFailure"}:
        yield f"restartPolicy {restart!r}: only Never or OnFailure"
    for name in ("backoffLimit", "activeDeadlineSeconds", "ttlSecondsAfterFinished", "parallelism", "completions"):
        if not isinstance(spec.get(name, 0), int) or spec.get(name, 0) < 0:
            yield f"{name}: {spec[name]!r}"
    if spec.get("podReplacementPolicy") not in {None, "TerminatingOrFailed", "Failed"}:
        yield f"podReplacementPolicy {spec['podReplacementPolicy']!r}"
    yield from _broken_pod(pod)
    if "podFailurePolicy" in spec:
        yield from _broken_policy(spec, pod)


def _broken_pod(pod: Manifest) -> Iterator[str]:
    names = [container["name"] for container in containers_of(pod)]
    if len(set(names)) != len(names):
        yield "container names are not unique"
    volumes = {volume["name"] for volume in pod.get("volumes", [])}
    for container in containers_of(pod):
        for mount in container.get("volumeMounts", []):
            if mount["name"] not in volumes:
                yield f"{container['name']}: no volume {mount['name']!r}"
    for container in pod["containers"]:
        if "restartPolicy" in container:
            yield f"{container['name']}: restartPolicy is for init containers"
    for container in pod.get("initContainers", []):
        if container.get("restartPolicy", "Always") != "Always":
            yield f"{container['name']}: restartPolicy {container['restartPolicy']!r}"
        if "restartPolicy" not in container and {"startupProbe", "readinessProbe", "livenessProbe"} & container.keys():
            yield f"{container['name']}: an init container that ends has no probes"


def _broken_policy(spec: Manifest, pod: Manifest) -> Iterator[str]:
    rules = spec["podFailurePolicy"]["rules"]
    if pod.get("restartPolicy") != "Never":
        yield "podFailurePolicy needs restartPolicy Never"
    if spec.get("podReplacementPolicy") not in {None, "Failed"}:
        yield "podFailurePolicy allows only podReplacementPolicy Failed"
    if len(rules) > 20:
        yield "more than 20 rules"
    names = {container["name"] for container in containers_of(pod)}
    for number, rule in enumerate(rules):
        for broken in _broken_rule(rule, names):
            yield f"rule {number}: {broken}"


def _broken_rule(rule: Manifest, names: set[str]) -> Iterator[str]:
    if rule.get("action") not in {"FailJob", "Ignore", "Count"}:
        yield f"action {rule.get('action')!r}"
    codes, conditions = rule.get("onExitCodes"), rule.get("onPodConditions")
    if bool(codes) == bool(conditions):
        yield "exactly one of onExitCodes and onPodConditions"
    if codes:
        values = codes.get("values") or []
        if codes.get("operator") not in {"In", "NotIn"}:
            yield f"operator {codes.get('operator')!r}"
        if not values or values != sorted(set(values)):
            yield f"values {values}: ascending and without twins"
        if codes.get("operator") == "In" and 0 in values:
            yield "0 is not allowed with In"
        if codes.get("containerName") not in {None, *names}:
            yield f"no container {codes['containerName']!r}"
    for condition in conditions or []:
        if condition.get("status", "True") not in {"True", "False", "Unknown"}:
            yield f"status {condition['status']!r} is no quoted string"

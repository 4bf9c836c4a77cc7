"""
A Kubernetes cluster for tests: ``cluster``, with a namespace, a PostgreSQL and a volume of sources of its own.

KUBECONFIG says which. Nodes have to have the images, or to be able to pull them: MIGRATOR_IMAGE and POSTGRES_IMAGE.
``scripts/kubernetes-test.sh`` provides all of that, also where there is no cluster.
"""

import copy
import json
import os
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from secrets import token_hex
from typing import Any

import pytest
import yaml
from fix_kubernetes import KUBERNETES, Manifest, containers_of, kubectl, one, pod_of, render

IMAGE = os.environ.get("MIGRATOR_IMAGE", "dryad-migrator:latest")
POSTGRES_IMAGE = os.environ.get("POSTGRES_IMAGE", "postgres:15-alpine")
RECORD = os.environ.get("MIGRATOR_RECORD")
"""File that gets a line for everything that was seen, for TESTED.md."""
LONGEST_SECONDS = 300
# The first minor versions of Kubernetes whose API server knows these without further ado.
SINCE = {"podFailurePolicy": 26, "podReplacementPolicy": 29}
NAMESPACE = "migrator-e2e"

# Every value of the sample can be carried, but for one date in the second file.
_FILL = """
import shutil, sqlite3, pathlib
from migrator.dryad.sample import generate
good, refused = pathlib.Path("/source/good.db"), pathlib.Path("/source/refused.db")
good.unlink(missing_ok=True)
generate(good, scale=0.05)
shutil.copy(good, refused)
connection = sqlite3.connect(refused)
connection.execute("UPDATE users SET date_of_birth = 'in spring' WHERE id = (SELECT max(id) FROM users)")
connection.commit()
good.chmod(0o644), refused.chmod(0o644)
"""

# Stops the job in its middle, for as long as a role named `brake` exists: at the first change of a table after rows of
# one are there. Tables of our own would be somebody's in a database that has to be empty; a function isn't.
_BRAKE = """
CREATE SCHEMA brake;
CREATE FUNCTION brake.wait() RETURNS event_trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE copied bool;
BEGIN
    IF to_regclass('migrator.tables') IS NULL THEN RETURN; END IF;
    EXECUTE 'SELECT EXISTS (SELECT FROM migrator.tables)' INTO copied;
    WHILE copied AND EXISTS (SELECT FROM pg_roles WHERE rolname = 'brake') LOOP PERFORM pg_sleep(0.2); END LOOP;
END $$;
CREATE EVENT TRIGGER brake ON ddl_command_end WHEN TAG IN ('ALTER TABLE', 'CREATE INDEX') EXECUTE FUNCTION brake.wait()
"""


def until(what: str, condition: Callable[[], Any]) -> Any:  # noqa: ANN401 - what the condition found
    """Ask again and again until there is something; what it was, and for how long at most, is in the failure."""
    ends = time.monotonic() + LONGEST_SECONDS
    while time.monotonic() < ends:
        if found := condition():
            return found
        time.sleep(0.3)
    raise AssertionError(f"{LONGEST_SECONDS} s were not enough for: {what}")


@dataclass(slots=True)
class Cluster:
    """A cluster, and what was applied to it."""

    minor: int
    password: str = field(default_factory=lambda: token_hex(8))
    server: str = ""
    """Address of the PostgreSQL service."""

    def run(self, *arguments: str, stdin: str | None = None) -> str:
        """Run kubectl in the namespace of the tests, and return what it said."""
        command = [kubectl(), "--namespace", NAMESPACE, *arguments]
        done = subprocess.run(
            command, input=stdin, capture_output=True, text=True, check=False, timeout=LONGEST_SECONDS
        )
        assert done.returncode == 0, f"{arguments}: {done.stderr}"
        return done.stdout

    def get(self, *arguments: str) -> Manifest:
        """Return what is there, as the API server has it."""
        found: Manifest = json.loads(self.run("get", *arguments, "-o", "json"))
        return found

    def knows(self, name: str) -> bool:
        """Return whether the API server knows a field of a Job."""
        return self.minor >= SINCE[name]

    def apply(self, *manifests: Manifest) -> None:
        """Apply manifests; fields that this server is too old for are left out."""
        told = copy.deepcopy(list(manifests))
        for manifest in told:
            manifest["metadata"]["namespace"] = NAMESPACE
            if manifest["kind"] == "Job":
                for name in SINCE:
                    if not self.knows(name):
                        manifest["spec"].pop(name, None)
        self.run("apply", "-f", "-", stdin=yaml.safe_dump_all(told))

    def sql(self, database: str, statement: str) -> str:
        """Run SQL as the superuser, and return its rows as text."""
        psql = ("psql", "--username=postgres", "--no-psqlrc", "--quiet", "--tuples-only", "--no-align")
        arguments = (*psql, "--set=ON_ERROR_STOP=1", f"--dbname={database}", "--file=-")
        return self.run("exec", "-i", "deployment/postgres", "--", *arguments, stdin=statement).strip()

    def database(self, name: str) -> str:
        """Make an empty database of the migrator's role, with a brake that is off; return its name."""
        self.sql("postgres", f"CREATE DATABASE {name} OWNER dryad TEMPLATE template0")
        self.sql(name, _BRAKE)
        return name

    def job(self, name: str, database: str, *, source: str = "good.db", overlay: str = "production") -> list[Manifest]:
        """Return the example's manifests for this cluster: image, server, source, and names of their own."""
        manifests = render(KUBERNETES / "overlays" / overlay)
        job, settings, policy = (one(manifests, kind) for kind in ("Job", "ConfigMap", "NetworkPolicy"))
        job["metadata"]["name"] = settings["metadata"]["name"] = policy["metadata"]["name"] = f"migrator-{name}"
        settings["data"] |= {
            "MIGRATOR_SOURCE_URL": f"sqlite:////source/{source}",
            "POSTGRES_HOST": self.server,
            "POSTGRES_DB": database,
        }
        [container] = pod_of(job)["containers"]
        container["envFrom"][0]["configMapRef"]["name"] = settings["metadata"]["name"]
        container["resources"]["requests"]["cpu"] = "100m"  # two at once fit on a small node
        self._use_local_images(pod_of(job))
        return manifests

    def application(self, name: str, database: str) -> Manifest:
        """Return the example's Deployment for this cluster; the application itself does nothing but run."""
        deployment: Manifest = yaml.safe_load((KUBERNETES / "application" / "deployment.yaml").read_text("utf-8"))
        deployment["metadata"]["name"] = name
        labels = {"app.kubernetes.io/name": name}
        deployment["spec"]["selector"]["matchLabels"] = deployment["spec"]["template"]["metadata"]["labels"] = labels
        wait, application = containers_of(pod_of(deployment))
        for entry in wait["env"]:
            entry["value"] = {"POSTGRES_HOST": self.server, "POSTGRES_DB": database}.get(entry["name"], entry["value"])
        application["command"] = ["python", "-c", "import signal; signal.pause()"]
        self._use_local_images(pod_of(deployment))
        return deployment

    def _use_local_images(self, pod: Manifest) -> None:
        for container in containers_of(pod):
            container |= {"image": IMAGE, "imagePullPolicy": "IfNotPresent"}

    def pods(self, selector: str) -> list[Manifest]:
        """Return the pods that there are, the oldest first."""
        found = self.get("pods", f"--selector={selector}")["items"]
        return sorted(found, key=lambda pod: str(pod["metadata"]["creationTimestamp"]))

    def ended(self, job: str) -> tuple[str, str]:
        """Wait until a Job is complete or has failed; return which, and the reason."""

        def condition() -> tuple[str, str] | None:
            for found in self.get("job", job).get("status", {}).get("conditions", []):
                if found["type"] in {"Complete", "Failed"} and found["status"] == "True":
                    return found["type"], found.get("reason", "")
            return None

        answer: tuple[str, str] = until(f"the end of {job}", condition)
        return answer

    def log(self, *arguments: str) -> list[dict[str, Any]]:
        """Return the events of a container; there may be none yet."""
        command = [kubectl(), "--namespace", NAMESPACE, "logs", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def terminated(pod: Manifest, container: str = "migrator") -> dict[str, Any] | None:
    """Return how a container ended, or None while it hasn't: exitCode, reason, message."""
    statuses = pod["status"].get("containerStatuses", []) + pod["status"].get("initContainerStatuses", [])
    for status in statuses:
        if status["name"] == container and "terminated" in status["state"]:
            found: dict[str, Any] = status["state"]["terminated"]
            return found
    return None


def outcome(ended: dict[str, Any]) -> dict[str, Any]:
    """Return the outcome that a container left in its termination message."""
    told: dict[str, Any] = json.loads(ended["message"])
    return told


def record(case: str, seen: str) -> None:
    """Write down what was seen, where somebody wants to know."""
    if RECORD:
        with Path(RECORD).open("a", encoding="utf-8") as file:
            file.write(f"| {case} | {seen} |\n")


def _postgres(password: str) -> Manifest:
    probe = {"exec": {"command": ["pg_isready", "-h", "127.0.0.1", "-U", "postgres"]}, "periodSeconds": 1}
    container = {
        "name": "postgres",
        "image": POSTGRES_IMAGE,
        "imagePullPolicy": "IfNotPresent",
        "args": ["postgres", "-c", "fsync=off"],
        "env": [{"name": "POSTGRES_PASSWORD", "value": password}],
        "readinessProbe": probe,
    }
    labels = {"app.kubernetes.io/name": "postgres"}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [container]}}
    spec = {"selector": {"matchLabels": labels}, "template": template}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "postgres"}, "spec": spec}


def service(name: str, selects: str) -> Manifest:
    """Return a Service of port 5432."""
    spec = {"selector": {"app.kubernetes.io/name": selects}, "ports": [{"port": 5432}]}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec}


def _secret(name: str, **values: str) -> Manifest:
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": values}


def _claim(cluster: Cluster) -> Iterator[Manifest]:
    """Yield the source's volume: from the cluster's storage class, or a folder of the node where there is none."""
    claim = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    if not cluster.get("storageclass")["items"]:
        claim |= {"storageClassName": "", "volumeName": NAMESPACE}
        spec = {
            "capacity": {"storage": "1Gi"},
            "accessModes": ["ReadWriteOnce"],
            "hostPath": {"path": f"/var/tmp/{NAMESPACE}", "type": "DirectoryOrCreate"},  # noqa: S108 - the node's
            "claimRef": {"namespace": NAMESPACE, "name": "dryad-data"},
        }
        yield {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": NAMESPACE}, "spec": spec}
    yield {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "dryad-data"}, "spec": claim}


def _fill() -> Manifest:
    container = {
        "name": "fill",
        "image": IMAGE,
        "imagePullPolicy": "IfNotPresent",
        "command": ["python", "-c", _FILL],
        "securityContext": {"runAsUser": 0},
        "volumeMounts": [{"name": "source", "mountPath": "/source"}],
    }
    volume = {"name": "source", "persistentVolumeClaim": {"claimName": "dryad-data"}}
    pod = {"restartPolicy": "Never", "containers": [container], "volumes": [volume]}
    spec = {"backoffLimit": 0, "template": {"spec": pod}}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "fill"}, "spec": spec}


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """Give a cluster with a PostgreSQL and sources; its namespace is gone afterwards."""
    if "KUBECONFIG" not in os.environ:
        pytest.skip("no cluster: KUBECONFIG isn't set. ./scripts/kubernetes-test.sh runs these, on a node of its own")
    told = subprocess.run([kubectl(), "version", "-o", "json"], capture_output=True, text=True, check=False)
    if told.returncode:
        pytest.skip(f"no cluster answers: {told.stderr.strip().splitlines()[-1]}")
    version = json.loads(told.stdout)["serverVersion"]
    cluster = Cluster(minor=int(re.sub(r"\D", "", version["minor"])))
    remove = [kubectl(), "delete", "namespace", NAMESPACE, "--ignore-not-found", "--timeout=300s"]
    subprocess.run(remove, check=True, capture_output=True)
    subprocess.run([kubectl(), "delete", "pv", NAMESPACE, "--ignore-not-found"], check=True, capture_output=True)
    subprocess.run([kubectl(), "create", "namespace", NAMESPACE], check=True, capture_output=True)
    password = cluster.password
    cluster.apply(_postgres(password), service("postgres", "postgres"), *_claim(cluster), _fill())
    cluster.apply(_secret("migrator", postgres_password=password))
    cluster.apply(_secret("gremlins-api", postgres_password=f"{password}-app", database_url="unused"))
    cluster.server = cluster.get("service", "postgres")["spec"]["clusterIP"]
    cluster.run("rollout", "status", "deployment/postgres", f"--timeout={LONGEST_SECONDS}s")
    cluster.sql("postgres", f"CREATE ROLE dryad LOGIN PASSWORD '{password}'")
    cluster.sql("postgres", f"CREATE ROLE dryad_app LOGIN PASSWORD '{password}-app'")
    assert cluster.ended("fill") == ("Complete", "")
    yield cluster
    subprocess.run(remove, check=False, capture_output=True)


@pytest.fixture
def brake(cluster: Cluster) -> Iterator[Callable[[], None]]:
    """Let jobs stop in their middle; call it to let them go on."""
    cluster.sql("postgres", "DROP ROLE IF EXISTS brake; CREATE ROLE brake")

    def release() -> None:
        cluster.sql("postgres", "DROP ROLE IF EXISTS brake")

    yield release
    release()

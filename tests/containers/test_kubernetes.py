"""
The example's manifests on a real cluster: Job, application and database, and what may happen to them at night.

Minutes, not seconds, so they run where KUBECONFIG names a cluster: ``./scripts/kubernetes-test.sh`` does it, and builds
one where there is none. docs/deployment/kubernetes/TESTED.md has what was seen.
"""

import json
import subprocess
from collections.abc import Callable
from typing import Any

from fix_cluster import LONGEST_SECONDS, NAMESPACE, Cluster, outcome, record, service, terminated, until
from fix_kubernetes import KUBERNETES as FOLDER
from fix_kubernetes import Manifest, kubectl, one, pod_of, render, verdict

LAST_STATUS_SINCE = 27


def policy_says(pod: Manifest) -> str:
    """Return what the example's failure policy makes of a pod that was seen."""
    job = one(render(FOLDER / "overlays" / "production"), "Job")
    ended = terminated(pod)
    assert ended is not None
    conditions = [c["type"] for c in pod["status"].get("conditions", []) if c["status"] == "True"]
    return verdict(job, {"exit_codes": {"migrator": ended["exitCode"]}, "conditions": conditions})


def runs(cluster: Cluster, database: str) -> list[tuple[int | None, str | None]]:
    """Return how the runs that the ledger knows have ended, the oldest first."""
    rows = cluster.sql(
        database, "SELECT json_agg(json_build_array(exit_code, message) ORDER BY started_at) FROM migrator.runs"
    )
    return [(code, message) for code, message in json.loads(rows or "[]")]


def begun(cluster: Cluster, database: str) -> bool:
    """Return whether the job has come to its middle: rows of a table are there, and the brake holds it."""
    if cluster.sql(database, "SELECT to_regclass('migrator.tables') IS NOT NULL") != "t":
        return False
    return cluster.sql(database, "SELECT EXISTS (SELECT FROM migrator.tables)") == "t"


def first_pod(cluster: Cluster, job: str) -> Manifest:
    """Wait for a Job's pod, and return it."""
    pods: list[Manifest] = until(f"a pod of {job}", lambda: cluster.pods(f"job-name={job}"))
    return pods[0]


def waits(cluster: Cluster, application: str) -> list[str]:
    """Return what an application's init container has said that it waits for."""
    log = cluster.log(f"deployment/{application}", "--container=wait-for-migration")
    return [event["reason"] for event in log if event["event"] == "ready.waiting"]


def has_started(cluster: Cluster, application: str) -> bool:
    """Return whether the application itself has ever run."""
    [pod] = cluster.pods(f"app.kubernetes.io/name={application}")
    [status] = [s for s in pod["status"].get("containerStatuses", []) if s["name"] == "gremlins-api"] or [{}]
    return bool(status.get("started")) or "running" in status.get("state", {})


def test_the_job_lets_the_application_start(cluster: Cluster) -> None:
    """The application waits without any right in the cluster, and starts when the Job is complete; verify agrees."""
    database = cluster.database("success")
    cluster.apply(cluster.application("api-success", database))
    until("the application to wait", lambda: "no migration has begun here" in waits(cluster, "api-success"))
    assert not has_started(cluster, "api-success")
    cluster.apply(*cluster.job("success", database))
    assert cluster.ended("migrator-success") == ("Complete", "")
    [pod] = cluster.pods("job-name=migrator-success")
    ended = terminated(pod)
    assert ended is not None
    assert outcome(ended)["exit_code"] == 0
    cluster.run("rollout", "status", "deployment/api-success", "--timeout=300s")
    assert has_started(cluster, "api-success")
    record("success; the application's init container", f"Complete; application started; {ended['message'].strip()}")

    cluster.apply(*cluster.job("verify", database, overlay="verify"))
    assert cluster.ended("migrator-verify") == ("Complete", "")
    cluster.sql(
        database, "UPDATE dryad.users SET display_name = 'changed' WHERE id = (SELECT max(id) FROM dryad.users)"
    )
    cluster.run("delete", "job/migrator-verify")
    mismatch = cluster.job("verify", database, overlay="verify")
    cluster.apply(*final(cluster, mismatch))
    assert cluster.ended("migrator-verify")[0] == "Failed"
    [pod] = cluster.pods("job-name=migrator-verify")
    ended = terminated(pod)
    assert ended is not None
    assert (ended["exitCode"], policy_says(pod)) == (1, "FailJob")
    assert "dryad.users" in outcome(ended)["message"]
    record("verify, equal; then one value changed", f"Complete; then Failed, exit 1, policy: FailJob; {short(ended)}")

    cluster.run("delete", "job/migrator-success")
    cluster.apply(*cluster.job("success", database))
    assert cluster.ended("migrator-success") == ("Complete", "")
    [pod] = cluster.pods("job-name=migrator-success")
    ended = terminated(pod)
    assert ended is not None
    assert outcome(ended)["message"] == "already migrated and verified: nothing to do"
    record("the same Job again, after it was deleted", f"Complete; {outcome(ended)['message']}")


def final(cluster: Cluster, manifests: list[Manifest]) -> list[Manifest]:
    """Let one failure be enough on a server that is too old for the policy which says so."""
    if not cluster.knows("podFailurePolicy"):
        one(manifests, "Job")["spec"]["backoffLimit"] = 0
    return manifests


def short(ended: dict[str, Any]) -> str:
    """Return the beginning of a termination message."""
    return "`" + str(outcome(ended)["message"])[:120].replace("|", "/") + "…`"


def test_a_refused_value_fails_the_job_at_once(cluster: Cluster) -> None:
    """One pod, exit 3, the value named in the termination message; and the application isn't started."""
    database = cluster.database("refused")
    cluster.apply(cluster.application("api-refused", database))
    cluster.apply(*final(cluster, cluster.job("refused", database, source="refused.db")))
    kind, reason = cluster.ended("migrator-refused")
    assert kind == "Failed"
    if cluster.knows("podFailurePolicy"):
        assert reason == "PodFailurePolicy"
    [pod] = cluster.pods("job-name=migrator-refused")
    ended = terminated(pod)
    assert ended is not None
    assert (ended["exitCode"], policy_says(pod)) == (3, "FailJob")
    assert "date_of_birth" in outcome(ended)["message"]
    until("the reason", lambda: any("ended with 3" in reason for reason in waits(cluster, "api-refused")))
    assert not has_started(cluster, "api-refused")
    assert cluster.sql(database, "SELECT count(*) FROM dryad.messages") == "0"
    record("a value that can't be carried", f"Failed ({reason}) after one pod, exit 3; policy: FailJob; {short(ended)}")
    record("the application meanwhile", f"not started; waits: {waits(cluster, 'api-refused')[-1][:80]}…")


def test_giving_up_is_retried(cluster: Cluster) -> None:
    """The server is away: exit 5, and a new pod. It comes: that pod, or one after it, completes the Job."""
    database = cluster.database("retried")
    cluster.apply(service("postgres-later", "nobody"))
    manifests = cluster.job("retried", database)
    one(manifests, "ConfigMap")["data"] |= {
        "POSTGRES_HOST": cluster.get("service", "postgres-later")["spec"]["clusterIP"],
        "MIGRATOR_WAIT_TIMEOUT_SECONDS": "3",
    }
    cluster.apply(*manifests)

    def gave_up() -> Manifest | None:
        return next((pod for pod in cluster.pods("job-name=migrator-retried") if terminated(pod)), None)

    pod: Manifest = until("a pod that gives up", gave_up)
    ended = terminated(pod)
    assert ended is not None
    assert (ended["exitCode"], policy_says(pod)) == (5, "Count")
    cluster.apply(service("postgres-later", "postgres"))
    assert cluster.ended("migrator-retried") == ("Complete", "")
    pods = cluster.pods("job-name=migrator-retried")
    assert len(pods) > 1
    codes = [ended["exitCode"] for pod in pods if (ended := terminated(pod))]
    assert codes == [*[5] * (len(pods) - 1), 0]
    record("PostgreSQL away, then there", f"pods ended with {codes}; Complete")


def test_the_lock_holds_while_two_pods_overlap(cluster: Cluster, brake: Callable[[], None]) -> None:
    """A deleted pod works on until its preStop is over, and its successor, which runs already, waits for the lock."""
    database = cluster.database("overlap")
    manifests = cluster.job("overlap", database)
    job = one(manifests, "Job")
    # What an older cluster does, and any that loses a node: the successor starts beside a pod that terminates.
    for name in ("podFailurePolicy", "podReplacementPolicy"):
        del job["spec"][name]
    pod_of(job)["terminationGracePeriodSeconds"] = LONGEST_SECONDS
    wait = ["sh", "-c", "until [ -e /tmp/stop ]; do sleep 0.1; done"]
    pod_of(job)["containers"][0]["lifecycle"] = {"preStop": {"exec": {"command": wait}}}
    cluster.apply(*manifests)
    old = first_pod(cluster, "migrator-overlap")["metadata"]["name"]
    until("rows of a table", lambda: begun(cluster, database))
    cluster.run("delete", "pod", old, "--wait=false")

    def successor() -> str | None:
        names = [pod["metadata"]["name"] for pod in cluster.pods("job-name=migrator-overlap")]
        return next((name for name in names if name != old), None)

    new: str = until("a successor", successor)
    until("the successor to wait", lambda: any(e["event"] == "lock.waiting" for e in cluster.log(new)))
    both = {pod["metadata"]["name"]: pod for pod in cluster.pods("job-name=migrator-overlap")}
    assert both.keys() == {old, new}
    assert "deletionTimestamp" in both[old]["metadata"]
    assert terminated(both[old]) is None
    assert runs(cluster, database) == [(None, None)]  # one run, and it goes on
    cluster.run("exec", old, "--container=migrator", "--", "touch", "/tmp/stop")  # noqa: S108 - the pod's own
    until("the old run's end", lambda: runs(cluster, database)[0][0])
    brake()
    assert cluster.ended("migrator-overlap") == ("Complete", "")
    (first, said), (second, _) = runs(cluster, database)
    assert (first, said, second) == (143, "stopped by SIGTERM", 0)
    overlapping = "SELECT count(*) FROM migrator.runs a JOIN migrator.runs b ON a.id < b.id"
    overlapping += " AND tstzrange(a.started_at, a.ended_at) && tstzrange(b.started_at, b.ended_at)"
    assert cluster.sql(database, overlapping) == "0"
    record(
        "pod deleted in the middle of the copy, its successor starts beside it",
        "the successor logs `lock.waiting` while the old pod works; ledger: 143 `stopped by SIGTERM`, then 0; Complete",
    )


def test_a_deadline_leaves_its_outcome(cluster: Cluster, brake: Callable[[], None]) -> None:
    """
    The Job fails and its pod is deleted with its log; the ledger says what happened, and a new Job goes on from there.

    The pod's last status says it as well, to whoever watches, from Kubernetes 1.27 on: kubelets before it let the pod
    go without one.
    """
    database = cluster.database("deadline")
    manifests = cluster.job("deadline", database)
    one(manifests, "Job")["spec"]["activeDeadlineSeconds"] = 60
    watch = subprocess.Popen(
        [
            kubectl(),
            "--namespace",
            NAMESPACE,
            "get",
            "pods",
            "--selector=job-name=migrator-deadline",
            "-w",
            "-o",
            "json",
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    cluster.apply(*manifests)
    until("rows of a table", lambda: begun(cluster, database))
    assert cluster.ended("migrator-deadline") == ("Failed", "DeadlineExceeded")
    until("the pod to be gone", lambda: not cluster.pods("job-name=migrator-deadline"))
    watch.terminate()
    seen = [ended for pod in documents(watch.communicate()[0]) if (ended := terminated(pod))]
    assert runs(cluster, database) == [(143, "stopped by SIGTERM")]
    told = "no last status of the pod, which kubelets before 1.27 don't report"
    if cluster.minor >= LAST_STATUS_SINCE:
        assert outcome(seen[-1])["exit_code"] == 143
        told = f"last status of the pod: `{seen[-1]['message'].strip()}`"
    record(
        "activeDeadlineSeconds in the middle of the copy",
        f"Failed (DeadlineExceeded), pod and log deleted; ledger: 143 `stopped by SIGTERM`; {told}",
    )
    brake()
    cluster.run("delete", "job/migrator-deadline")
    cluster.apply(*cluster.job("deadline", database))
    assert cluster.ended("migrator-deadline") == ("Complete", "")
    assert [code for code, _ in runs(cluster, database)] == [143, 0]
    record("the Job again, after a deadline", "goes on; Complete")


def documents(text: str) -> list[Manifest]:
    """Return the JSON documents that stand one after the other."""
    found, decoder = [], json.JSONDecoder()
    while text := text.lstrip():
        try:
            document, end = decoder.raw_decode(text)
        except json.JSONDecodeError:
            break  # the last was cut
        found.append(document)
        text = text[end:]
    return found


def test_a_memory_limit_is_told(cluster: Cluster) -> None:
    """Too little memory: 137 and OOMKilled, which counts as a failure that may heal; nothing is complete."""
    database = cluster.database("memory")
    manifests = cluster.job("memory", database)
    resources = pod_of(one(manifests, "Job"))["containers"][0]["resources"]
    resources["limits"]["memory"] = resources["requests"]["memory"] = "64Mi"
    one(manifests, "Job")["spec"]["backoffLimit"] = 0
    cluster.apply(*manifests)
    assert cluster.ended("migrator-memory")[0] == "Failed"
    [pod] = cluster.pods("job-name=migrator-memory")
    ended = terminated(pod)
    assert ended is not None
    assert (ended["exitCode"], ended["reason"], policy_says(pod)) == (137, "OOMKilled", "Count")
    record("memory limit of 64Mi", "exit 137, OOMKilled; policy: Count")

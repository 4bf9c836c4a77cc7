"""The manifests for Kubernetes, held to the code and to the API server's rules. No cluster is needed."""

import copy
import importlib
import importlib.util
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from fix_kubernetes import (
    KUBERNETES,
    ROOT,
    Manifest,
    broken_rules,
    containers_of,
    one,
    pod_of,
    render,
    render_with,
    verdict,
)

from migrator.cli import commands, main, signals
from migrator.cli.arguments import Parser, add_settings
from migrator.config.fields import option_info, variables_of
from migrator.config.options import RULES_FILE
from migrator.config.settings import Settings
from migrator.engine import Settings as ApplicationSettings
from migrator.errors import ExitCode

OVERLAYS = sorted(path.parent.name for path in KUBERNETES.glob("overlays/*/kustomization.yaml"))
COMPONENTS = sorted(path.parent.name for path in KUBERNETES.glob("components/*/kustomization.yaml"))
DEPLOYMENT: Manifest = yaml.safe_load((KUBERNETES / "application" / "deployment.yaml").read_text(encoding="utf-8"))
# From the first that knows every field to the newest that the validator has schemas of.
VERSIONS = ("1.29", "1.31", "1.34", "1.37")
# What the job takes from the environment besides its settings.
LANGUAGE = {"PYTHONPATH"}
AGAIN = {ExitCode.GAVE_UP, ExitCode.SIGINT, ExitCode.SIGTERM}
OF_STATUS = {ExitCode.NOT_COMPLETE, ExitCode.LAST_RUN_FAILED}
"""Answers of `status`, which no Job runs without `--wait`."""
FINAL = {*ExitCode, main.BUG} - AGAIN - OF_STATUS - {ExitCode.DONE}


@pytest.fixture(scope="session")
def production() -> list[Manifest]:
    """Give what the overlay of the example makes."""
    return render(KUBERNETES / "overlays" / "production")


@pytest.fixture(scope="session")
def everything(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Manifest]]:
    """Give all there is to apply: every overlay, every component on top of one, and the application."""
    overlays = {name: render(KUBERNETES / "overlays" / name) for name in OVERLAYS}
    components = {name: render_with([name], tmp_path_factory.mktemp(name)) for name in COMPONENTS}
    return {**overlays, **components, "base": render(KUBERNETES / "base"), "application": [DEPLOYMENT]}


@pytest.fixture(scope="session")
def jobs(everything: dict[str, list[Manifest]]) -> dict[str, Manifest]:
    """Give every Job there is, by the name of what makes it."""
    return {name: one(manifests, "Job") for name, manifests in everything.items() if name != "application"}


def environment_of(manifests: list[Manifest]) -> dict[str, str]:
    """Return the settings that a Job's ConfigMap hands over."""
    data: dict[str, str] = one(manifests, "ConfigMap")["data"]
    return data


def test_values_of_rows_are_masked(everything: dict[str, list[Manifest]]) -> None:
    """Logs leave the cluster in most installations, and the termination message is shown to many."""
    given = {name: environment_of(made) for name, made in everything.items() if name != "application"}
    assert {environment.get("MIGRATOR_MASK_VALUES") for environment in given.values()} == {"true"}


def test_the_rules_file_of_an_overlay_is_found(tmp_path: Path) -> None:
    """The component mounts the ConfigMap that the overlay makes of its file, at the place where the job looks."""
    rules = '[columns."users.age"]\nnull = ["n/a"]\n'
    (tmp_path / RULES_FILE).write_text(rules)
    generator = [{"name": "migrator-rules", "files": [RULES_FILE]}]
    made = render_with(["rules"], tmp_path, more={"namespace": "dryad", "configMapGenerator": generator})
    [held] = [made for made in made if made["kind"] == "ConfigMap" and made["metadata"]["name"] != "migrator"]
    assert held["data"] == {RULES_FILE: rules}
    job = one(made, "Job")
    [volume] = [volume for volume in pod_of(job)["volumes"] if volume["name"] == "rules"]
    assert volume["configMap"]["name"] == held["metadata"]["name"]
    [mount] = [mount for mount in migrator_in(job)["volumeMounts"] if mount["name"] == "rules"]
    assert (mount["mountPath"], mount["subPath"]) == (f"/app/{RULES_FILE}", RULES_FILE)


def migrator_in(manifest: Manifest) -> Manifest:
    """Return the container of a Job that is ours."""
    containers: list[Manifest] = pod_of(manifest)["containers"]
    [found] = [container for container in containers if container["name"] == "migrator"]
    return found


# --- What the API server would say ------------------------------------------------------------------------------------


def test_there_is_what_is_documented() -> None:
    """Base, overlays and components are those that README.md of the folder explains, and no other."""
    text = (KUBERNETES / "README.md").read_text(encoding="utf-8")
    folders = {f"overlays/{name}" for name in OVERLAYS} | {f"components/{name}" for name in COMPONENTS}
    assert set(re.findall(r"^\| `((?:overlays|components)/[\w-]+)`", text, re.MULTILINE)) == folders


@pytest.mark.parametrize("version", VERSIONS)
def test_the_schema_of_every_version_accepts_it(version: str, everything: dict[str, list[Manifest]]) -> None:
    """Strictly: a field that this version doesn't know, or a value of a wrong type, is an error."""
    if importlib.util.find_spec("kubernetes_validate") is None:
        missing = pytest.fail if os.environ.get("CI") else pytest.skip
        missing("no kubernetes-validate: ./scripts/setup.sh brings it")
    validator = importlib.import_module("kubernetes_validate")
    for name, manifests in everything.items():
        for manifest in manifests:
            assert validator.validate(manifest, version, strict=True), name
    broken = copy.deepcopy(one(everything["base"], "Job"))
    broken["spec"]["backofLimit"] = 1
    with pytest.raises(validator.ValidationError):
        validator.validate(broken, version, strict=True)


def test_the_rules_that_no_schema_holds(jobs: dict[str, Manifest]) -> None:
    """Fields that exclude each other, order, names of containers and volumes: nothing is broken in any Job."""
    broken = {name: list(broken_rules(job)) for name, job in jobs.items()}
    assert {name: rules for name, rules in broken.items() if rules} == {}
    assert jobs


def _restarts(job: Manifest) -> None:
    pod_of(job)["restartPolicy"] = "OnFailure"


def _unsorted(job: Manifest) -> None:
    job["spec"]["podFailurePolicy"]["rules"][0]["onExitCodes"]["values"] = [3, 1]


def _zero(job: Manifest) -> None:
    job["spec"]["podFailurePolicy"]["rules"][0]["onExitCodes"]["values"] = [0, 1]


def _stranger(job: Manifest) -> None:
    job["spec"]["podFailurePolicy"]["rules"][0]["onExitCodes"]["containerName"] = "other"


def _word(job: Manifest) -> None:
    job["spec"]["podFailurePolicy"]["rules"][0]["action"] = "Explode"


def _both(job: Manifest) -> None:
    job["spec"]["podFailurePolicy"]["rules"][1]["onExitCodes"] = {"operator": "In", "values": [9]}


def _replaces(job: Manifest) -> None:
    job["spec"]["podReplacementPolicy"] = "TerminatingOrFailed"


def _negative(job: Manifest) -> None:
    job["spec"]["backoffLimit"] = -1


def _volume(job: Manifest) -> None:
    pod_of(job)["volumes"].pop()


def _sidecar(job: Manifest) -> None:
    pod_of(job)["containers"][0]["restartPolicy"] = "Always"


DAMAGES = [_restarts, _unsorted, _zero, _stranger, _word, _both, _replaces, _negative, _volume, _sidecar]


@pytest.mark.parametrize("damage", DAMAGES, ids=[damage.__name__.strip("_") for damage in DAMAGES])
def test_a_broken_rule_is_found(damage: Callable[[Manifest], None], production: list[Manifest]) -> None:
    """Each of these the API server refuses, and so do we."""
    job = copy.deepcopy(one(production, "Job"))
    damage(job)
    assert list(broken_rules(job))


# --- Exit codes -------------------------------------------------------------------------------------------------------


def test_the_policy_is_the_contract(jobs: dict[str, Manifest]) -> None:
    """FailJob names just the codes that time can't heal, Count those it may; together they are all but success."""
    for job in jobs.values():
        rules = job["spec"]["podFailurePolicy"]["rules"]
        codes = {rule["action"]: rule["onExitCodes"]["values"] for rule in rules if "onExitCodes" in rule}
        assert codes == {"FailJob": sorted(map(int, FINAL)), "Count": sorted(map(int, AGAIN))}


@pytest.mark.parametrize("code", sorted({*map(int, ExitCode), main.BUG, 137} - {0} - OF_STATUS))
def test_what_a_code_does_to_the_job(code: int, production: list[Manifest]) -> None:
    """A final code fails the Job at once, also on a node that is drained; any other is counted, or there ignored."""
    job = one(production, "Job")
    final = code in FINAL
    ended: dict[str, Any] = {"exit_codes": {"migrator": code}, "conditions": []}
    assert verdict(job, ended) == ("FailJob" if final else "Count")
    assert verdict(job, {**ended, "conditions": ["DisruptionTarget"]}) == ("FailJob" if final else "Ignore")


def test_a_sidecars_code_is_not_ours(jobs: dict[str, Manifest]) -> None:
    """A proxy that ends with 1 when it is stopped must not fail the Job."""
    ended: dict[str, Any] = {"exit_codes": {"migrator": 5, "cloud-sql-proxy": 1}, "conditions": []}
    assert verdict(jobs["cloud-sql-proxy"], ended) == "Count"


def test_the_page_on_exit_codes_has_the_same_policy(production: list[Manifest]) -> None:
    """The short Job in docs/reference/exit-codes.md acts like the whole one."""
    text = (ROOT / "docs" / "reference" / "exit-codes.md").read_text(encoding="utf-8")
    short = yaml.safe_load(text.partition("```yaml\n")[2].partition("```")[0])
    for code in sorted({*map(int, ExitCode), main.BUG, 137} - {0}):
        for conditions in ([], ["DisruptionTarget"]):
            ended: dict[str, Any] = {"exit_codes": {"migrator": code}, "conditions": conditions}
            assert verdict(short, ended) == verdict(one(production, "Job"), ended)


# --- Settings ---------------------------------------------------------------------------------------------------------


def known_variables() -> set[str]:
    """Return every variable that the job listens to."""
    return {
        variable + end
        for name, field in Settings.model_fields.items()
        for variable in variables_of(name, field)
        for end in ("", *(["_FILE"] if option_info(field).in_file else []))
    }


def test_settings_exist(everything: dict[str, list[Manifest]]) -> None:
    """A misspelt name would be a warning in a log at night; here it fails."""
    for name, manifests in everything.items():
        if name != "application":
            assert set(environment_of(manifests)) <= known_variables() | LANGUAGE, name
    wait, application = containers_of(pod_of(DEPLOYMENT))
    assert {entry["name"] for entry in wait["env"]} <= known_variables()
    assert {entry["name"] for entry in application["env"]} <= set(ApplicationSettings.model_fields)


def test_settings_are_accepted(everything: dict[str, list[Manifest]], monkeypatch: pytest.MonkeyPatch) -> None:
    """Every value is one that the job takes; Kubernetes knows texts only, so a bare number wouldn't even be applied."""
    for manifests in everything.values():
        if manifests == [DEPLOYMENT]:
            continue
        with monkeypatch.context() as patch:
            for name, value in environment_of(manifests).items():
                assert isinstance(value, str)
                patch.setenv(name, value)
            patch.delenv("POSTGRES_PASSWORD_FILE")  # a path in the pod
            settings = Settings.load({})
        assert settings.has_target
        assert settings.source_path.is_absolute()


def test_paths_in_the_image_exist(production: list[Manifest]) -> None:
    """Relative paths are those of a checkout, and of the image's working directory."""
    environment = environment_of(production)
    assert all((ROOT / environment[name]).is_file() for name in ("MIGRATOR_INIT_SQL", "MIGRATOR_ALEMBIC_CONFIG"))


def test_no_secret_is_in_a_manifest(everything: dict[str, list[Manifest]]) -> None:
    """Passwords come as files of a Secret that nobody commits; a variable could be read in `kubectl describe`."""
    for manifests in everything.values():
        assert not [manifest for manifest in manifests if manifest["kind"] == "Secret"]
        for manifest in manifests:
            for container in containers_of(pod_of(manifest)) if manifest["kind"] in {"Job", "Deployment"} else []:
                names = {entry["name"]: entry.get("value") for entry in container.get("env", [])}
                assert not [name for name in names if re.search("PASSWORD$|SECRET|DATABASE_URL$|TARGET_URL$", name)]
    assert environment_of(everything["base"])["POSTGRES_PASSWORD_FILE"] == "/etc/migrator/secrets/postgres_password"


def test_commands_are_understood(everything: dict[str, list[Manifest]]) -> None:
    """The arguments of every container of ours are a command with flags that exist."""
    ours = [
        container
        for manifests in everything.values()
        for manifest in manifests
        if manifest["kind"] in {"Job", "Deployment"}
        for container in containers_of(pod_of(manifest))
        if "migrator" in container["image"]
    ]
    assert {container["args"][0] for container in ours} == {"run", "verify", "status", "rollback"}
    for container in ours:
        command, *flags = container["args"]
        parser = Parser(prog="migrator")
        add_settings(parser, commands.COMMANDS[command].groups)
        assert parser.parse_known_args(flags)[1] == []
    assert pod_of(DEPLOYMENT)["initContainers"][0]["args"] == ["status", "--wait"]


def test_the_termination_message_is_where_the_kubelet_looks(
    jobs: dict[str, Manifest], production: list[Manifest]
) -> None:
    """The setting, and the container's path, are one."""
    path = environment_of(production)["MIGRATOR_TERMINATION_MESSAGE"]
    assert {migrator_in(job)["terminationMessagePath"] for job in jobs.values()} == {path}
    wait = pod_of(DEPLOYMENT)["initContainers"][0]
    assert {"name": "MIGRATOR_TERMINATION_MESSAGE", "value": path} in wait["env"]


# --- The pod ----------------------------------------------------------------------------------------------------------


def test_every_pod_is_restricted(everything: dict[str, list[Manifest]]) -> None:
    """Pod Security Standards, level restricted: what kubernetes.io lists, container by container, and a little more."""
    for manifests in everything.values():
        for manifest in manifests:
            if manifest["kind"] not in {"Job", "Deployment"}:
                continue
            pod = pod_of(manifest)
            assert not pod.keys() & {"hostNetwork", "hostPID", "hostIPC"}
            assert pod["securityContext"]["runAsNonRoot"] is True
            assert pod["securityContext"]["runAsUser"] > 0
            assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
            assert pod["automountServiceAccountToken"] is False
            allowed = {"configMap", "secret", "emptyDir", "persistentVolumeClaim"}
            assert all(volume.keys() - {"name"} <= allowed for volume in pod["volumes"])
            for container in containers_of(pod):
                context = container["securityContext"]
                assert (context["allowPrivilegeEscalation"], context["privileged"]) == (False, False)
                assert context["readOnlyRootFilesystem"] is True
                assert context["capabilities"] == {"drop": ["ALL"]}
                assert container["resources"]["requests"].keys() >= {"cpu", "memory"}
                assert "memory" in container["resources"]["limits"]
                assert not [port for port in container.get("ports", []) if "hostPort" in port]


def test_the_source_can_not_be_written(jobs: dict[str, Manifest]) -> None:
    """Read-only twice: the volume, so that not even ownership is changed on it, and the mount."""
    for job in jobs.values():
        volumes = {volume["name"]: volume for volume in pod_of(job)["volumes"]}
        mounts = {mount["name"]: mount for mount in migrator_in(job)["volumeMounts"]}
        assert volumes["source"]["persistentVolumeClaim"]["readOnly"] is True
        assert mounts["source"]["readOnly"] is True
        assert mounts["secrets"]["readOnly"] is True
        writable = [name for name, mount in mounts.items() if not mount.get("readOnly")]
        if job["metadata"]["name"] == "migrator-rollback":
            # The claim of the new file, which the job may write to; the kubelet changes no owner on a read-only claim.
            assert writable == ["scratch", "back"]
            continue
        assert writable == ["scratch"]
        assert "fsGroup" not in pod_of(job)["securityContext"]


def test_scratch_space_has_a_limit(everything: dict[str, list[Manifest]]) -> None:
    """An emptyDir without one fills the node; and the container's own limit leaves room for it."""
    for manifests in everything.values():
        for manifest in manifests:
            if manifest["kind"] in {"Job", "Deployment"}:
                empty = [volume["emptyDir"] for volume in pod_of(manifest)["volumes"] if "emptyDir" in volume]
                assert empty
                assert all(volume["sizeLimit"] for volume in empty)
    job = one(everything["base"], "Job")
    [scratch] = [volume["emptyDir"] for volume in pod_of(job)["volumes"] if "emptyDir" in volume]
    gibibytes = [
        int(re.fullmatch(r"(\d+)Gi", text)[1])  # type: ignore[index]
        for text in (scratch["sizeLimit"], migrator_in(job)["resources"]["limits"]["ephemeral-storage"])
    ]
    assert gibibytes == sorted(gibibytes)


def test_times_fit_into_each_other(jobs: dict[str, Manifest], production: list[Manifest]) -> None:
    """Grace is longer than a stop takes, the lock is waited for longer than that, and the deadline is for all pods."""
    environment = environment_of(production)
    lock, wait = (float(environment[f"MIGRATOR_{name}_TIMEOUT_SECONDS"]) for name in ("LOCK", "WAIT"))
    for job in jobs.values():
        spec, grace = job["spec"], pod_of(job)["terminationGracePeriodSeconds"]
        assert signals.GRACE_SECONDS < grace < lock < wait
        assert (spec["backoffLimit"] + 1) * wait < spec["activeDeadlineSeconds"]
        assert spec["podReplacementPolicy"] == "Failed"
        assert (spec["ttlSecondsAfterFinished"], pod_of(job)["restartPolicy"]) == (604800, "Never")
    assert DEPLOYMENT["spec"]["progressDeadlineSeconds"] >= one(production, "Job")["spec"]["activeDeadlineSeconds"]


def test_the_network_policy_is_about_the_job(everything: dict[str, list[Manifest]]) -> None:
    """It selects the Job's pods, lets nobody in, and lets the port of the settings out."""
    for name, manifests in everything.items():
        if name == "application":
            continue
        policy = one(manifests, "NetworkPolicy")["spec"]
        labels = one(manifests, "Job")["spec"]["template"]["metadata"]["labels"]
        assert policy["podSelector"]["matchLabels"].items() <= labels.items()
        assert set(policy["policyTypes"]) == {"Ingress", "Egress"}
        assert "ingress" not in policy
        ports = {port["port"] for rule in policy["egress"] for port in rule["ports"]}
        proxied = name == "cloud-sql-proxy"
        assert (3307 if proxied else int(environment_of(manifests)["POSTGRES_PORT"])) in ports
        assert all(rule["to"] for rule in policy["egress"])


# --- Components -------------------------------------------------------------------------------------------------------


def test_argo_cd_has_what_the_job_needs_before_it(everything: dict[str, list[Manifest]]) -> None:
    """In the same phase, a wave earlier; and the application, which has no wave and so 0, comes after."""
    waves = {
        manifest["kind"]: int(manifest["metadata"]["annotations"]["argocd.argoproj.io/sync-wave"])
        for manifest in everything["argo-cd"]
    }
    assert waves["Job"] < 0
    assert all(wave < waves["Job"] for kind, wave in waves.items() if kind != "Job")
    assert one(everything["argo-cd"], "Job")["metadata"]["annotations"]["argocd.argoproj.io/hook"] == "Sync"


def test_helm_has_what_the_job_needs_before_it(everything: dict[str, list[Manifest]]) -> None:
    """Hooks run before the chart's other manifests, so everything here is one; by weight the Job comes last."""
    annotations = {manifest["kind"]: manifest["metadata"]["annotations"] for manifest in everything["helm-hook"]}
    assert {words["helm.sh/hook"] for words in annotations.values()} == {"pre-install,pre-upgrade"}
    weights = {kind: int(words["helm.sh/hook-weight"]) for kind, words in annotations.items()}
    assert all(weight < weights["Job"] for kind, weight in weights.items() if kind != "Job")


def test_the_proxy_is_a_native_sidecar(jobs: dict[str, Manifest]) -> None:
    """An init container that restarts always ends with the Job; an ordinary container would keep it running."""
    pod = pod_of(jobs["cloud-sql-proxy"])
    [proxy] = pod["initContainers"]
    assert proxy["restartPolicy"] == "Always"
    assert proxy["startupProbe"]  # the migrator starts when this has answered
    assert [container["name"] for container in pod["containers"]] == ["migrator"]


def test_the_rehearsal_touches_nothing_of_the_real_one(everything: dict[str, list[Manifest]]) -> None:
    """Every name is another, the volume is a clone, and so is the database."""
    names = {(m["kind"], m["metadata"]["name"]) for m in everything["production"]}
    rehearsal = everything["rehearsal"]
    assert not names & {(m["kind"], m["metadata"]["name"]) for m in rehearsal}
    clone = one(rehearsal, "PersistentVolumeClaim")
    [source] = [volume for volume in pod_of(one(rehearsal, "Job"))["volumes"] if volume["name"] == "source"]
    [original] = [v for v in pod_of(one(everything["production"], "Job"))["volumes"] if v["name"] == "source"]
    assert source["persistentVolumeClaim"]["claimName"] == clone["metadata"]["name"]
    assert clone["spec"]["dataSource"]["name"] == original["persistentVolumeClaim"]["claimName"]
    assert environment_of(rehearsal)["POSTGRES_DB"] != environment_of(everything["production"])["POSTGRES_DB"]


def test_own_scripts_come_from_the_applications_image(everything: dict[str, list[Manifest]]) -> None:
    """They are copied where the settings look for them."""
    pod = pod_of(one(everything["own-alembic"], "Job"))
    environment = environment_of(everything["own-alembic"])
    [fetch] = pod["initContainers"]
    assert environment["MIGRATOR_ALEMBIC_CONFIG"] == f"{fetch['command'][-1]}/alembic.ini"
    assert environment["PYTHONPATH"] == fetch["command"][-1]

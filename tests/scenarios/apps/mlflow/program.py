"""
Drives MLflow through its client; runs under MLflow's own Python: ``program.py fill|create|start|tell|continue URL``.

``tell`` prints all that the client and the stores give of experiments, runs, models, traces, data sets and the gateway,
as JSON. Numbers are told by ``repr``, so that infinity and NaN have a form and no digit is lost.
"""

import json
import os
import sys
import warnings
from collections.abc import Mapping
from datetime import datetime
from enum import Enum
from typing import Any

os.environ |= {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_CRYPTO_KEK_PASSPHRASE": "a passphrase of the tests",
    "MLFLOW_WEBHOOK_SECRET_ENCRYPTION_KEY": "dGVzdHRlc3R0ZXN0dGVzdHRlc3R0ZXN0dGVzdHRlc3Q=",
    "MLFLOW_ENABLE_ASYNC_TRACE_LOGGING": "false",
    "GIT_PYTHON_REFRESH": "quiet",
}
import mlflow
from mlflow.entities import (
    AssessmentSource,
    Dataset,
    DatasetInput,
    Expectation,
    Feedback,
    GatewayEndpointModelConfig,
    GatewayModelLinkageType,
    InputTag,
    LoggedModelOutput,
    Metric,
    Param,
    RunTag,
    ViewType,
)
from mlflow.entities.webhook import WebhookAction, WebhookEntity, WebhookEvent
from mlflow.store.db.utils import _initialize_tables, create_sqlalchemy_engine_with_retry
from mlflow.store.model_registry.sqlalchemy_store import SqlAlchemyStore as Registry
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore as Tracking

NUMBERS = (float("inf"), float("-inf"), float("nan"), 0.1 + 0.2, 5e-324, 1.7976931348623157e308, -0.0, 2.0**53 + 2)
TEXT = "größe 🌱 / 'quoted' \\ \"double\" \t tab\nnew line"


def client(url: str) -> Any:
    """Return MLflow's client for a database; what it writes there anyway, it has written then."""
    mlflow.set_tracking_uri(url)
    mlflow.set_registry_uri(url)
    Tracking(url, "./mlruns")
    return mlflow.MlflowClient(url, url)


def stores(url: str) -> tuple[Any, Any]:
    """Return the stores behind the client, for what the client doesn't show."""
    return Tracking(url, "./mlruns"), Registry(url)


def create(url: str) -> None:
    """Make the tables with MLflow's own migrations, as its server does before it writes the default experiment."""
    _initialize_tables(create_sqlalchemy_engine_with_retry(url))


def fill(url: str) -> None:
    """Fill a database with everything that MLflow keeps: some of it deleted, some of it at the ends of its ranges."""
    create(url)
    of = client(url)
    experiment = of.create_experiment(TEXT.replace("\n", " "), tags={"ü": "", "k": "x" * 5000})
    gone = of.create_experiment("gone")
    of.delete_experiment(gone)
    of.create_experiment("empty")
    fill_runs(of, experiment)
    fill_models(of, url, experiment)
    fill_traces(of, experiment)
    fill_stores(url, experiment)


def fill_runs(of: Any, experiment: str) -> None:
    """Make runs of every state, with metrics that aren't numbers and text that is long."""
    for number, state in enumerate(("FINISHED", "FAILED", "KILLED", "RUNNING", "SCHEDULED")):
        run = of.create_run(
            experiment, start_time=1_700_000_000_000 + number, run_name=f"{state} {TEXT[:9]}"
        ).info.run_id
        metrics = [
            Metric(f"loss/{kind}", value, 1_700_000_000_000 + number, step)
            for step in (-(2**40), 0, 1, 2**62)
            for kind, value in enumerate(NUMBERS)
        ]
        params = [Param("rate", repr(0.1 * number)), Param("empty", ""), Param("long", "ß" * 6000), Param("text", TEXT)]
        of.log_batch(run, metrics=metrics, params=params, tags=[RunTag("note", TEXT), RunTag("nothing", "")])
        if number < 3:
            of.set_terminated(run, state, end_time=2**53 + number)
        data = Dataset(f"data {number}", f"digest{number}", "local", '{"uri": "ü"}', '{"columns": [null, 1]}', "{}")
        of.log_inputs(run, datasets=[DatasetInput(data, tags=[InputTag("mlflow.data.context", "träning")])])
    deleted = of.create_run(experiment, run_name="deleted").info.run_id
    of.log_metric(deleted, "m", 1.0)
    of.delete_run(deleted)
    child = of.create_run(experiment, tags={"mlflow.parentRunId": run}).info.run_id
    of.set_tag(child, "to be removed", "x")
    of.delete_tag(child, "to be removed")


def fill_models(of: Any, url: str, experiment: str) -> None:
    """Register models, versions, aliases and prompts; remove some again."""
    [run, *_] = of.search_runs([experiment])
    logged = of.create_logged_model(experiment, name="modell-ü", source_run_id=run.info.run_id, params={"a": "0.1"})
    of.set_logged_model_tags(logged.model_id, {"größe": "🌱"})
    of.log_outputs(run.info.run_id, [LoggedModelOutput(logged.model_id, 3)])
    for value in NUMBERS[:4]:
        of.log_metric(run.info.run_id, "of model", value, model_id=logged.model_id, step=NUMBERS.index(value))
    of.finalize_logged_model(logged.model_id, "READY")
    of.create_registered_model("modell 🌱", tags={"a": "", "ü": "x"}, description="d" * 4000)
    for _ in range(3):
        of.create_model_version("modell 🌱", "file:///nowhere", run.info.run_id, tags={"t": "ü"}, description=None)
    of.delete_model_version("modell 🌱", "2")
    of.set_registered_model_alias("modell 🌱", "champion", "3")
    of.create_registered_model("gone")
    of.delete_registered_model("gone")
    of.register_prompt("begruessung", "Hallo {{ name }}, " + "x" * 3000, commit_message="erste", tags={"lang": "de"})
    of.register_prompt("begruessung", "Servus {{ name }} 🌱")
    events = [WebhookEvent(WebhookEntity.REGISTERED_MODEL, WebhookAction.CREATED)]
    stores(url)[1].create_webhook("haken", "https://93.184.216.34/hook", events, description=TEXT, secret="s3cret")


def fill_traces(of: Any, experiment: str) -> None:
    """Make traces with spans, metadata and assessments."""
    mlflow.set_experiment(experiment_id=experiment)
    for number in range(4):
        with mlflow.start_span(f"wurzel {number}", attributes={"ü": [1, 0.1 + 0.2, None, "🌱"]}) as root:
            root.set_inputs({"frage": TEXT, "nested": {"x": [None, True]}})
            with mlflow.start_span("kind") as child:
                child.set_outputs({"antwort": "x" * 70000 if number == 1 else ""})
            mlflow.update_current_trace(tags={"n": str(number)}, metadata={"mlflow.trace.session": "sitzung"})
        trace = root.trace_id
        source = AssessmentSource(source_type="HUMAN", source_id="ada@example.com")
        mlflow.log_assessment(trace, Feedback(name="güte", value=0.1 + 0.2, source=source, rationale=TEXT))
        mlflow.log_assessment(trace, Expectation(name="soll", value={"a": [1, None, "ü"]}, source=source))
    of.delete_traces(experiment, trace_ids=[trace])


def fill_stores(url: str, experiment: str) -> None:
    """Fill what only the server's interface reaches: evaluation data sets, scorers, the gateway with its secrets."""
    tracking, _ = stores(url)
    data = tracking.create_dataset("prüfung", tags={"a": "ü"}, experiment_ids=[experiment])
    records = [
        {"inputs": {"q": f"{n} 🌱"}, "expectations": {"a": [n, None, 0.1]}, "tags": {"n": str(n)}} for n in range(5)
    ]
    tracking.upsert_dataset_records(data.dataset_id, records)
    for text in ("eins", "zwei"):
        tracking.register_scorer(experiment, "scorer-ü", json.dumps({"name": text, "call_source": "return 1"}))
    secret = tracking.create_gateway_secret(
        "schlüssel", {"api_key": "sk-🌱-\\x00"}, provider="openai", auth_config={"a": "ü"}
    )
    definition = tracking.create_gateway_model_definition("modell", secret.secret_id, "openai", "gpt-ü")
    config = GatewayEndpointModelConfig(
        model_definition_id=definition.model_definition_id,
        linkage_type=GatewayModelLinkageType.PRIMARY,
        weight=0.1 + 0.2,
    )
    tracking.create_gateway_endpoint("ende", [config])


def tell(url: str) -> None:
    """Print what MLflow gives of everything."""
    of = client(url)
    tracking, registry = stores(url)
    experiments = of.search_experiments(ViewType.ALL, order_by=["experiment_id ASC"])
    ids = [experiment.experiment_id for experiment in experiments]
    runs = sorted(of.search_runs(ids, run_view_type=ViewType.ALL), key=lambda run: run.info.run_id)
    traces = [tracking.get_trace(info.trace_id) for info in tracking.search_traces(locations=ids)[0]]
    datasets = tracking.search_datasets()
    told = {
        "experiments": experiments,
        "runs": runs,
        "histories": {
            f"{run.info.run_id} {key}": sorted(map(plain, of.get_metric_history(run.info.run_id, key)), key=repr)
            for run in runs
            for key in run.data.metrics
        },
        "logged models": of.search_logged_models(ids),
        "models": of.search_registered_models(),
        "versions": sorted(of.search_model_versions(), key=lambda version: (version.name, version.version)),
        "prompts": [of.load_prompt("begruessung", version=version) for version in (1, 2)],
        "champion": of.get_model_version_by_alias("modell 🌱", "champion"),
        "webhooks": registry.list_webhooks(),
        "traces": sorted((trace.to_dict() for trace in traces), key=repr),
        "data sets": [dataset.to_dict() for dataset in datasets],
        "records": [
            sorted((record.to_dict() for record in tracking._load_dataset_records(dataset.dataset_id)[0]), key=repr)
            for dataset in datasets
        ],
        "scorers": {one.experiment_id: tracking.list_scorers(one.experiment_id) for one in of.search_experiments()},
        "secrets": tracking.list_secret_infos(),
        "endpoints": tracking.list_gateway_endpoints(),
        "definitions": tracking.list_gateway_model_definitions(),
    }
    print(json.dumps(plain(told)))


def plain(value: Any) -> Any:
    """Return a value of MLflow's as lists, dictionaries and text; a number by ``repr``."""
    if isinstance(value, Mapping):
        return {str(key): plain(one) for key, one in sorted(value.items())}
    if isinstance(value, list | tuple | set):
        return [plain(one) for one in value]
    if isinstance(value, float | int | bytes | Enum | datetime) or value is None:
        return repr(value)
    if isinstance(value, str):
        return value
    if hasattr(type(value), "_properties"):
        return plain(dict(value))
    return plain(vars(value))


def go_on(url: str) -> None:
    """Write anew: ids that follow on, keys that are taken, a deletion that cascades."""
    of = client(url)
    tracking, _ = stores(url)
    experiment = of.create_experiment("new")
    taken = ""
    try:
        of.create_experiment("empty")
    except mlflow.MlflowException as error:
        taken = error.error_code
    [old] = [one for one in of.search_experiments() if one.name.startswith("größe")]
    version = of.create_model_version("modell 🌱", "file:///nowhere")
    run = of.create_run(old.experiment_id)
    of.log_metric(run.info.run_id, "loss/0", float("nan"), step=2**62 + 1)
    fill_traces(of, old.experiment_id)
    scorer = tracking.register_scorer(
        old.experiment_id, "scorer-ü", json.dumps({"name": "drei", "call_source": "return 1"})
    )
    [secret] = tracking.list_secret_infos()
    before = len(tracking.search_traces(locations=[old.experiment_id])[0])
    prompt = of.register_prompt("begruessung", "Grüezi {{ name }}")
    of.delete_registered_model("modell 🌱")
    answer = {
        "experiment": experiment,
        "taken": taken,
        "version": version.version,
        "metric": repr(of.get_run(run.info.run_id).data.metrics["loss/0"]),
        "traces": before,
        "scorer": scorer.scorer_version,
        "decrypted": tracking._get_decrypted_secret(secret.secret_id),
        "prompt": prompt.version,
        "versions left": len(of.search_model_versions("name = 'modell 🌱'")),
        "restored": restored(of),
    }
    print(json.dumps(answer))


def restored(of: Any) -> list[str]:
    """Bring the deleted experiment and run back, and return their states."""
    [gone] = of.search_experiments(ViewType.DELETED_ONLY)
    of.restore_experiment(gone.experiment_id)
    [run] = of.search_runs([one.experiment_id for one in of.search_experiments()], run_view_type=ViewType.DELETED_ONLY)
    of.restore_run(run.info.run_id)
    return [of.get_experiment(gone.experiment_id).lifecycle_stage, of.get_run(run.info.run_id).info.lifecycle_stage]


COMMANDS = {"fill": fill, "create": create, "start": client, "tell": tell, "continue": go_on}

if __name__ == "__main__":
    warnings.simplefilter("ignore")
    COMMANDS[sys.argv[1]](sys.argv[2].replace("postgresql://", "postgresql+psycopg2://"))

"""
Drives Airflow through its command line, its models and runs of DAGs; runs under Airflow's own Python.

``program.py create|start|fill|tell|continue URL``: ``create`` runs the migrations of Airflow and of its provider for
users and roles; ``start`` writes as well what Airflow writes when it starts: permissions, roles, pools.
"""
# ruff: noqa: AIR311, E402 - models, not what DAGs import under these names; settings are read by the import

import json
import os
import sys
import tempfile
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

HOME = Path(tempfile.mkdtemp() if "AIRFLOW_HOME" not in os.environ else os.environ["AIRFLOW_HOME"])
VERB, URL = sys.argv[1], sys.argv[2].replace("postgresql:", "postgresql+psycopg2:")
os.environ |= {
    "AIRFLOW_HOME": str(HOME),
    "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": URL,
    "AIRFLOW__CORE__AUTH_MANAGER": "airflow.providers.fab.auth_manager.fab_auth_manager.FabAuthManager",
    "AIRFLOW__CORE__FERNET_KEY": "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=",
    "AIRFLOW__CORE__LOAD_EXAMPLES": "false",
    "AIRFLOW__CORE__DAGS_FOLDER": str(HOME / "dags"),
    "AIRFLOW__API_AUTH__JWT_SECRET": "0123456789abcdef0123456789abcdef",
    "AIRFLOW__API__SECRET_KEY": "0123456789abcdef",
    "AIRFLOW__LOGGING__LOGGING_LEVEL": "ERROR",
    "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "false",
}
DAGS = """
import pendulum
from airflow.sdk import Asset, dag, task

@dag(dag_id="gross", dag_display_name="größe 🌱", tags=["ü", "x"], schedule=None,
     start_date=pendulum.datetime(2024, 3, 31, tz="Europe/Zurich"),
     description="a 'quoted' 🌱", params={"n": 1.5}, catchup=False)
def flow():
    @task
    def give():
        return {"ü": [1, 0.1 + 0.2, None, "🌱", True], "": "x" * 2000}
    @task(outlets=[Asset("x://groesse", extra={"a": None})])
    def double(number):
        return number * 2
    @task
    def fail():
        raise ValueError("this one fails ü")
    give() >> double.expand(number=[1, 2**40, 3]) >> fail()

@dag(dag_id="gone", schedule="5 4 * * *", start_date=pendulum.datetime(1969, 12, 31), catchup=False)
def other():
    @task
    def one():
        return ""
    one()

flow()
other()
"""
(HOME / "dags").mkdir(parents=True, exist_ok=True)
(HOME / "dags" / "flows.py").write_text(DAGS, encoding="utf-8")

import sqlalchemy as sa
from airflow.utils import db as airflow_db
from airflow.utils.session import create_session

TEXTS = ("größe 🌱", "", "a\nb\t\\ 'quoted' \"double\"", "x" * 20_000)


def create() -> None:
    """Run the migrations, those of users and roles too."""
    if _is_empty():
        airflow_db.initdb()
    else:
        airflow_db.upgradedb()


def _is_empty() -> bool:
    with create_session() as session:
        return not sa.inspect(session.get_bind()).has_table("alembic_version")


def security() -> Any:
    """Return what manages users and roles; making it writes permissions and roles that aren't there."""
    from airflow.providers.fab.www.app import create_app

    return create_app(enable_plugins=False)


def start() -> None:
    """Write what a start writes."""
    create()
    security()


def fill() -> None:
    """Fill every kind of thing, with what is hard in each, and delete some of them again."""
    from airflow.models import Connection, Log, Pool, Variable

    start()
    with create_session() as session:
        for number, text in enumerate(TEXTS):
            Variable.set(f"schlüssel {number}", text, description=text[:50], session=session)
            session.add(
                Connection(
                    conn_id=f"verbindung_{number}",
                    conn_type="postgres",
                    host="größe",
                    login="ü",
                    password=text or None,
                    extra=json.dumps({"ü": text}),
                    port=number or None,
                    description=text,
                )
            )
            session.add(Log(event=f"e{number}", owner="ü", extra=text, dttm=TIMES[number]))
        Variable.set("gone", "x", session=session)
        session.add(Pool(pool="größe", slots=-1, description="", include_deferred=True))
    with create_session() as session:
        Variable.delete("gone", session=session)
        session.execute(sa.delete(Connection).where(Connection.conn_id == "verbindung_1"))
    _users()
    for when in TIMES[:3]:
        _run("gross", when)
    for when in TIMES[:2]:
        _run("gone", when)
    _delete("gone")


TIMES = (
    datetime(2024, 3, 31, 2, 30, 0, 123456, tzinfo=timezone(timedelta(hours=1))),
    datetime(1999, 12, 31, 23, 59, 59, 999999, tzinfo=timezone(timedelta(hours=5, minutes=45))),
    datetime(2024, 10, 27, 2, 30, tzinfo=timezone(timedelta(hours=2))),
    datetime(2999, 12, 31, tzinfo=UTC),
)


def _users() -> None:
    app = security()
    with app.app_context():
        manager = app.appbuilder.sm
        for name in ("größe", "gone", "letzter"):
            user = manager.add_user(name, "Größe", "'quoted'", f"{name}@example.com", manager.find_role("Viewer"), "x")
            if name == "gone":
                manager.session.delete(user)
                manager.session.commit()
        manager.add_role("rolle ü")


def _run(name: str, when: datetime) -> str:
    from airflow.dag_processing.dagbag import DagBag

    bag = DagBag(str(HOME / "dags"))
    run = bag.dags[name].test(logical_date=when, run_after=when, run_conf={"ü": [None, 1e-300]})
    return str(run.run_id)


def _delete(name: str) -> None:
    from airflow.api.common.delete_dag import delete_dag

    delete_dag(name, keep_records_in_log=False)


def tell() -> None:
    """Print every value of every table, as the models give it, and what is encrypted in the clear."""
    from airflow.models import Connection, Variable, import_all_models
    from airflow.models.base import Base
    from airflow.providers.fab.auth_manager import models

    import_all_models()
    told: dict[str, Any] = {}
    with create_session() as session:
        bases = {Base.registry, models.Model.registry}
        for mapper in sorted((one for base in bases for one in base.mappers), key=lambda one: str(one.class_)):
            names = [attribute.key for attribute in mapper.column_attrs]
            rows = session.execute(sa.select(*(getattr(mapper.class_, name) for name in names))).all()
            told[mapper.class_.__qualname__] = sorted(
                repr([*zip(names, map(_plain, row), strict=True)]) for row in rows
            )
        told["passwords"] = [one.password for one in session.scalars(sa.select(Connection).order_by(Connection.id))]
        told["values"] = [one.val for one in session.scalars(sa.select(Variable).order_by(Variable.id))]
    print(json.dumps(told))


def _plain(value: object) -> object:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    return json.dumps(value, sort_keys=True, default=repr) if isinstance(value, (dict, list)) else value


def go_on() -> None:
    """Write anew: ids follow on, unique keys hold, what depends on a run goes with it."""
    from airflow.models import Connection, DagRun, Log, Pool, TaskInstance, Variable
    from airflow.models.xcom import XComModel

    told: dict[str, Any] = {}
    app = security()
    with app.app_context():
        manager = app.appbuilder.sm
        role = manager.add_role("neu")
        told["user"] = [manager.add_user("neu", "n", "n", "n@example.com", role, "x").id, role.id]
    with create_session() as session:
        Variable.set("neu", "ü", session=session)
        session.add_all([Connection(conn_id="neu", conn_type="x"), Pool(pool="neu", slots=1, include_deferred=False)])
        session.add(Log(event="neu"))
        session.flush()
        for model in (Variable, Connection, Pool, Log):
            told[model.__name__] = session.scalar(sa.select(sa.func.max(model.id)))
    told["run"] = _run("gross", datetime(2025, 1, 1, tzinfo=UTC))
    try:
        with create_session() as session:
            session.add(Connection(conn_id="neu", conn_type="x"))
    except sa.exc.IntegrityError:
        told["twice"] = "refused"
    with create_session() as session:
        told["runs"] = sorted(session.scalars(sa.select(DagRun.id)))
        told["tasks"] = session.scalar(sa.select(sa.func.count()).select_from(TaskInstance))
    _delete("gross")
    with create_session() as session:
        for model in (DagRun, TaskInstance, XComModel):
            told[f"{model.__name__} left"] = session.scalar(sa.select(sa.func.count()).select_from(model))
    print(json.dumps(told))


COMMANDS = {"create": create, "start": start, "fill": fill, "tell": tell, "continue": go_on}

if __name__ == "__main__":
    COMMANDS[VERB]()

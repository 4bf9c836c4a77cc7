"""
Drives Superset through its application, its models and its HTTP interface; runs under Superset's own Python.

``program.py create|start|fill|tell|continue URL``: ``create`` is ``superset db upgrade``, ``start`` is
``superset init`` as well, which writes permissions and roles.
"""
# ruff: noqa: DTZ001 - Superset keeps times without a zone

import json
import logging
import os
import sys
import tempfile
import uuid
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

HOME = Path(tempfile.mkdtemp())
CONFIG = """
SECRET_KEY = "0123456789abcdef0123456789abcdef0123456789"
SQLALCHEMY_DATABASE_URI = {url!r}
WTF_CSRF_ENABLED = False
TALISMAN_ENABLED = False
PREVENT_UNSAFE_DB_CONNECTIONS = False
AUTH_USER_REGISTRATION = False
FILTER_STATE_CACHE_CONFIG = EXPLORE_FORM_DATA_CACHE_CONFIG = {{"CACHE_TYPE": "SimpleCache"}}
FEATURE_FLAGS = {{"TAGGING_SYSTEM": True}}
"""
TEXTS = ("größe 🌱", "", "a\nb\t\\ 'quoted' \"double\"", "x" * 50_000)


def application(url: str) -> Any:
    """Return Superset's application for a database."""
    config = HOME / "superset_config.py"
    config.write_text(CONFIG.format(url=url.replace("postgresql:", "postgresql+psycopg2:")), encoding="utf-8")
    os.environ |= {"SUPERSET_CONFIG_PATH": str(config), "SUPERSET_HOME": str(HOME)}
    logging.disable(logging.ERROR)
    from superset.app import create_app

    return create_app()


def create() -> None:
    """Run the migrations."""
    import flask_migrate
    import superset

    flask_migrate.upgrade(directory=str(Path(superset.__file__).parent / "migrations"))


def start() -> None:
    """Write what a start writes: themes too, which the application writes at each start whose tables are there."""
    from superset import appbuilder, security_manager
    from superset.commands.theme.seed import SeedSystemThemesCommand

    create()
    SeedSystemThemesCommand().run()
    appbuilder.add_permissions(update_perms=True)
    security_manager.sync_role_definitions()


def fill() -> None:
    """Fill every kind of thing, with what is hard in each, and delete some of them again."""
    from superset import db, security_manager

    start()
    users = [_user(security_manager, name) for name in ("größe", "gone", "letzter")]
    db.session.delete(users[1])
    database, table = _dataset(db)
    charts = [_chart(table, number, text) for number, text in enumerate(TEXTS)]
    boards = [_board(number, text, charts[:number], users[0]) for number, text in enumerate(TEXTS)]
    db.session.add_all([*charts, *boards])
    db.session.commit()
    db.session.delete(boards[1])
    db.session.delete(charts[3])
    _more(db, database, users[0], boards[0])
    db.session.commit()


def _user(manager: Any, name: str) -> Any:
    return manager.add_user(name, "Größe", "'quoted'", f"{name}@example.com", manager.find_role("Alpha"), password="x")


def _dataset(db: Any) -> "tuple[Any, Any]":
    from superset.connectors.sqla.models import SqlaTable, SqlMetric, TableColumn
    from superset.models.core import Database

    database = Database(
        database_name="größe 🌱", sqlalchemy_uri="sqlite://", extra='{"ü": null}', expose_in_sqllab=True
    )
    table = SqlaTable(table_name="tabelle ü", database=database, description="", sql="SELECT 'ü'", schema=None)
    table.columns = [
        TableColumn(column_name=f"spalte {number}", type="TEXT", is_dttm=number == 1) for number in range(5)
    ]
    table.metrics = [SqlMetric(metric_name="anzahl ü", expression="COUNT(*)", d3format="")]
    db.session.add_all([database, table])
    db.session.commit()
    return database, table


def _chart(table: Any, number: int, text: str) -> Any:
    from superset.models.slice import Slice

    return Slice(
        slice_name=text[:250] or None, datasource_id=table.id, datasource_type="table", viz_type="table",
        params=json.dumps({"ü": [number, 0.1 + 0.2, None, text]}), description=text, cache_timeout=number or None,
    )  # fmt: skip


def _board(number: int, text: str, charts: "list[Any]", user: Any) -> Any:
    from superset.models.dashboard import Dashboard

    return Dashboard(
        dashboard_title=text[:500], slug=f"brett-{number}", slices=charts, position_json=json.dumps({"x": text}),
        css=text, json_metadata=None if number == 1 else "{}", published=number % 2 == 0, owners=[user],
    )  # fmt: skip


def _more(db: Any, database: Any, user: Any, board: Any) -> None:
    from superset.key_value.models import KeyValueEntry
    from superset.models.annotations import Annotation, AnnotationLayer
    from superset.models.core import CssTemplate, Log
    from superset.models.embedded_dashboard import EmbeddedDashboard
    from superset.models.sql_lab import Query, SavedQuery, TabState
    from superset.tags.models import Tag

    for number, text in enumerate(TEXTS):
        query = Query(
            client_id=f"c{number}", database_id=database.id, user_id=user.id, sql=text, status="success",
            start_time=1711888200123.456 + number, end_time=1711888200123.4567 if number else None, rows=number,
        )  # fmt: skip
        db.session.add_all([query, SavedQuery(user_id=user.id, db_id=database.id, label=text[:256], sql=text)])
        db.session.add(Log(action=f"a{number}", user_id=user.id, json=text, dttm=TIMES[number], duration_ms=number))
        db.session.add(KeyValueEntry(resource="r", value=bytes(range(256)) * number, uuid=uuid.UUID(int=number)))
    db.session.flush()
    db.session.add(TabState(user_id=user.id, label="ü", active=True, latest_query_id="c1", database_id=database.id))
    layer = AnnotationLayer(name="ü", descr="")
    notes = [Annotation(start_dttm=when, short_descr="ü", layer=layer, json_metadata="") for when in TIMES]
    db.session.add_all([layer, *notes, CssTemplate(template_name="ü", css=""), Tag(name="ü", type="custom")])
    db.session.add(EmbeddedDashboard(dashboard_id=board.id, allow_domain_list="a,b"))


TIMES = (
    datetime(2024, 3, 31, 2, 30, 0, 123456),
    datetime(1969, 12, 31, 23, 59, 59, 999999),
    datetime(9999, 12, 31),
    datetime(1, 1, 1),
)


def tell() -> None:
    """Print every value of every model, as the models give it, and what the HTTP interface lists."""
    from flask_appbuilder import Model
    from superset import db

    told: dict[str, list[str]] = {}
    for mapper in sorted(Model.registry.mappers, key=lambda one: str(one.class_)):
        if mapper.local_table.name.startswith("ab_") or mapper.class_.__module__.startswith("superset"):
            names = [attribute.key for attribute in mapper.column_attrs]
            rows = db.session.query(*(getattr(mapper.class_, name) for name in names)).all()
            told[f"{mapper.class_.__module__}.{mapper.class_.__name__}"] = sorted(
                repr(list(zip(names, map(_plain, row), strict=True))) for row in rows
            )
    print(json.dumps(told))


def _plain(value: object) -> object:
    if isinstance(value, Decimal):
        return float(value)  # SQLite keeps times of queries as doubles, of which SQLAlchemy makes more digits
    return bytes(value) if isinstance(value, memoryview) else value


def go_on() -> None:
    """Write anew through models and security: ids follow on, a secret is read, what depends on a row goes with it."""
    import sqlalchemy as sa
    from superset import db, security_manager
    from superset.connectors.sqla.models import SqlaTable, TableColumn
    from superset.models.core import Database
    from superset.models.dashboard import Dashboard, dashboard_slices

    told: dict[str, Any] = {}
    user = _user(security_manager, "neu")
    role = security_manager.add_role("rolle neu")
    permission = security_manager.add_permission_view_menu("kann ü", "ansicht ü")
    security_manager.add_permission_role(role, permission)
    board = _board(9, "neu", [], user)
    chart = _chart(db.session.query(SqlaTable).first(), 9, "neu")
    board.slices = [chart]
    db.session.add(board)
    db.session.commit()
    links = [db.session.scalar(sa.func.max(sa.table(name, sa.column("id")).c.id)) for name in LINKS]
    told["ids"] = [user.id, role.id, permission.id, board.id, chart.id, *links]
    told["board"] = str(db.session.query(Dashboard).filter_by(slug="brett-0").one().uuid)
    database = db.session.query(Database).filter_by(database_name="größe 🌱").one()
    told["password"] = database.sqlalchemy_uri_decrypted
    db.session.delete(db.session.query(Dashboard).filter_by(slug="brett-2").one())
    table = db.session.query(SqlaTable).one()
    db.session.delete(table)
    db.session.commit()
    told["left"] = [db.session.query(TableColumn).count(), db.session.query(dashboard_slices).count()]
    print(json.dumps(told))


LINKS = ("ab_user_role", "ab_permission_view_role", "dashboard_slices", "dashboard_user")
COMMANDS = {"create": create, "start": start, "fill": fill, "tell": tell, "continue": go_on}

if __name__ == "__main__":
    with application(sys.argv[2]).app_context():
        COMMANDS[sys.argv[1]]()

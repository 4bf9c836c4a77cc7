"""Bookkeeping tables: recognised by name and columns together."""

import pytest

from migrator.bookkeeping.tools import KINDS, VersionTable, recognised

KNOWN = {
    "Alembic": ("alembic_version", "version_num"),
    "Alembic, another name": ("fab_alembic_version", "version_num"),
    "Django": ("django_migrations", "id app name applied"),
    "Rails": ("schema_migrations", "version"),
    "golang-migrate": ("schema_migrations", "version dirty"),
    "Ecto": ("schema_migrations", "version inserted_at"),
    "Entity Framework": ("__EFMigrationsHistory", "MigrationId ProductVersion"),
    "TypeORM": ("migrations", "id timestamp name"),
    "Laravel": ("migrations", "id migration batch"),
    "peewee-migrate": ("migratehistory", "id name migrated_at"),
    "Knex": ("knex_migrations_lock", "index is_locked"),
    "Sequelize": ("SequelizeMeta", "name"),
    "Phinx": ("blog_phinxlog", "version migration_name start_time end_time breakpoint"),
    "Synapse": ("schema_version", "Lock version upgraded"),
}

OTHERS = {
    "another shape": ("migrations", "id name species departed_at"),
    "a column more": ("schema_migrations", "version author"),
    "a column less": ("django_migrations", "id name applied"),
    "another name": ("birds", "id timestamp name"),
    "a version beside other columns": ("releases", "version_num notes"),
}


@pytest.mark.parametrize("name", KNOWN)
def test_a_tool_is_recognised(name: str) -> None:
    """Whatever the case of its names."""
    table, columns = KNOWN[name]
    kind = recognised(table, columns.split())
    assert kind is not None
    assert name.startswith(kind.tool.split(" or ")[0])


@pytest.mark.parametrize("name", OTHERS)
def test_a_table_of_the_application_is_not(name: str) -> None:
    """A name that fits, or columns that fit, aren't enough."""
    table, columns = OTHERS[name]
    assert recognised(table, columns.split()) is None


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: f"{kind.tool} {kind.name} {len(kind.columns)}")
def test_kinds_are_consistent(kind: VersionTable) -> None:
    """Columns that are read exist always; each kind is the one that its own shape gives."""
    assert {*kind.version, *([kind.applied] if kind.applied else [])} <= kind.columns
    assert kind.name == kind.name.lower()
    assert recognised(kind.name.replace("*", "x"), kind.columns) is kind

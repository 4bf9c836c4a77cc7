"""
Recognises bookkeeping tables: those in which migration tools record what they have done to a database's schema.

A name alone doesn't tell: an application may have a table ``migrations`` of its own. So the columns have to fit, too.
"""

from collections.abc import Iterable
from fnmatch import fnmatchcase
from functools import lru_cache

from msgspec import Struct


class VersionTable(Struct, frozen=True):
    """A kind of bookkeeping table. Names of tables and columns are in lower case, because tools spell them in any."""

    tool: str
    name: str
    """The table's name; * is a wildcard."""
    columns: frozenset[str]
    """The columns that the table has."""
    optional: frozenset[str] = frozenset()
    """Columns that the table has in some versions of the tool. There are no others."""
    version: tuple[str, ...] = ()
    """The columns that identify a version; empty if the table holds nothing that could be compared."""
    applied: str = ""
    """The column that tells whether a version was applied; empty if each row is an applied version."""
    by_dialect: bool = False
    """Whether applications usually have other migrations for PostgreSQL than for SQLite."""
    mark: str = ""
    """The tool's command that marks migrations as applied, without running them."""

    def fits(self, name: str, columns: frozenset[str]) -> bool:
        """Return whether a table with this name and these columns is of this kind."""
        # Columns first: they are compared in a fiftieth of the time, and hardly ever fit.
        return self.columns <= columns <= self.columns | self.optional and fnmatchcase(name, self.name)


def recognised(name: str, columns: Iterable[str]) -> VersionTable | None:
    """Return the kind of bookkeeping table that a table is, by its name and its columns; None for any other table."""
    return _recognised(name.lower(), frozenset(column.lower() for column in columns))


@lru_cache(maxsize=10_000)
def _recognised(name: str, columns: frozenset[str]) -> VersionTable | None:
    """Do so; a run asks four times about each table."""
    return next((kind for kind in KINDS if kind.fits(name, columns)), None)


def _kind(tool: str, name: str, columns: str, version: str = "", **more: str | bool) -> VersionTable:
    """Return a kind; names are separated by blanks, and a ? follows the name of an optional column."""
    words = columns.split()
    return VersionTable(
        tool,
        name,
        frozenset(word for word in words if not word.endswith("?")),
        frozenset(word[:-1] for word in words if word.endswith("?")),
        tuple(version.split()),
        applied=str(more.get("applied", "")),
        by_dialect=bool(more.get("by_dialect")),
        mark=str(more.get("mark", "")),
    )


_PRISMA = "id checksum finished_at migration_name logs rolled_back_at started_at applied_steps_count"
_FLYWAY = "installed_rank version description type script checksum installed_by installed_on execution_time success"
_LIQUIBASE = (
    "id author filename dateexecuted orderexecuted exectype md5sum description comments tag liquibase contexts? "
    "labels? deployment_id?"
)

KINDS: tuple[VersionTable, ...] = (
    # The name of Alembic's table is an option of each project; no other tool has a table with only this column.
    _kind("Alembic", "*", "version_num", "version_num", mark="alembic stamp REVISION"),
    _kind("Django", "django_migrations", "id app name applied", "app name", mark="manage.py migrate --fake"),
    _kind("Rails", "ar_internal_metadata", "key value created_at updated_at"),
    _kind("Rails or dbmate", "schema_migrations", "version", "version"),
    _kind("golang-migrate", "schema_migrations", "version dirty", "version", mark="migrate force VERSION"),
    _kind("Ecto", "schema_migrations", "version inserted_at", "version"),
    _kind("Entity Framework", "__efmigrationshistory", "migrationid productversion", "migrationid", by_dialect=True),
    _kind(
        "Entity Framework", "__ef_migrations_history", "migration_id product_version", "migration_id", by_dialect=True
    ),
    _kind(
        "Prisma",
        "_prisma_migrations",
        _PRISMA,
        "migration_name",
        applied="finished_at",
        by_dialect=True,
        mark="prisma migrate resolve --applied NAME",
    ),
    _kind("goose", "goose_db_version", "id version_id is_applied tstamp", "version_id", applied="is_applied"),
    _kind("Flyway", "flyway_schema_history", _FLYWAY, "script", applied="success", mark="flyway baseline"),
    _kind("Liquibase", "databasechangelog", _LIQUIBASE, "id author filename", mark="liquibase changelog-sync"),
    _kind("Liquibase", "databasechangeloglock", "id locked lockgranted lockedby"),
    _kind("peewee-migrate", "migratehistory", "id name migrated_at", "name", mark="pw_migrate migrate --fake"),
    _kind("Knex", "knex_migrations", "id name batch migration_time", "name"),
    _kind("Knex", "knex_migrations_lock", "index? is_locked"),
    _kind("knex-migrator", "migrations", "id name version currentversion", "name version"),
    _kind("knex-migrator", "migrations_lock", "lock_key locked acquired_at released_at"),
    _kind("Sequelize", "sequelizemeta", "name createdat? updatedat?", "name"),
    _kind("Sequelize", "sequelizedata", "name createdat? updatedat?", "name"),
    _kind("TypeORM", "*migrations", "id timestamp name", "name", by_dialect=True, mark="typeorm migration:run --fake"),
    _kind("MikroORM", "mikro_orm_migrations", "id name executed_at", "name"),
    _kind("Kysely", "kysely_migration", "name timestamp", "name"),
    _kind("Kysely", "kysely_migration_lock", "id is_locked"),
    _kind("db-migrate", "migrations", "id name run_on", "name"),
    _kind("Laravel", "migrations", "id migration batch", "migration"),
    _kind("Drizzle", "__drizzle_migrations", "id hash created_at name? applied_at?"),
    _kind("Directus", "directus_migrations", "version name timestamp", "version"),
    _kind(
        "SQLx",
        "_sqlx_migrations",
        "version description installed_on success checksum execution_time",
        "version",
        applied="success",
    ),
    _kind("Diesel", "__diesel_schema_migrations", "version run_on", "version"),
    _kind("SeaORM", "seaql_migrations", "version applied_at", "version"),
    _kind("Refinery", "refinery_schema_history", "version name applied_on checksum", "version name"),
    _kind("yoyo", "_yoyo_migration", "migration_hash migration_id applied_at_utc", "migration_id", mark="yoyo mark"),
    _kind("yoyo", "_yoyo_version", "version installed_at_utc"),
    _kind("yoyo", "_yoyo_log", "id migration_hash migration_id operation username hostname comment created_at_utc"),
    _kind("yoyo", "yoyo_lock", "locked ctime pid"),
    _kind("sqlalchemy-migrate", "migrate_version", "repository_id repository_path version", "version"),
    _kind("Aerich", "aerich", "id version app content", "app version", by_dialect=True),
    _kind("Piccolo", "migration", "id name app_name ran_on", "app_name name"),
    _kind("Doctrine", "doctrine_migration_versions", "version executed_at execution_time", "version", by_dialect=True),
    _kind("Nextcloud", "*_migrations", "app version", "app version"),
    _kind("Phinx", "*phinxlog", "version migration_name? start_time end_time breakpoint?", "version"),
    _kind("gorp", "gorp_migrations", "id applied_at", "id"),
    _kind("Grafana", "migration_log", "id migration_id sql success error timestamp", "migration_id", applied="success"),
    _kind("Morph", "db_migrations", "version name", "version", by_dialect=True),
    _kind("Synapse", "schema_version", "lock version upgraded", "version"),
    _kind("Synapse", "schema_compat_version", "lock compat_version", "compat_version"),
    _kind("Synapse", "applied_schema_deltas", "version file"),
    _kind("Synapse", "applied_module_schemas", "module_name file"),
)
"""All kinds; the first that fits counts."""

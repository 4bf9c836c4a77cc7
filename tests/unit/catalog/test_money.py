"""Money: an amount is stored in coins, and how many of them make one is a setting of whoever reads it."""

import subprocess
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from fix_job import contents, settings_of
from fix_postgres import Database, Server, database_on, quick_server
from fix_sqlite import MakeSqlite

from migrator.demo import server
from migrator.errors import TargetRefused
from migrator.job import check, run
from migrator.monitoring.tracker import Tracker

pytestmark = [pytest.mark.one_server, pytest.mark.xdist_group("money")]
SOURCES = Path("/usr/share/i18n/locales")
LOCALES = {"fr_FR.UTF-8": 2, "ja_JP.UTF-8": 0, "ar_KW.UTF-8": 3}
TARGETS = {
    "a column": "CREATE TABLE t (id int PRIMARY KEY, amount money)",
    "an array": "CREATE TABLE t (id int PRIMARY KEY, amount money[])",
    "a domain": "CREATE DOMAIN price AS money; CREATE TABLE t (id int PRIMARY KEY, amount price)",
    "a composite": "CREATE TYPE pair AS (n int, price money); CREATE TABLE t (id int PRIMARY KEY, amount pair)",
}
VALUES = {"a column": "12.34", "an array": "{12.34,5}", "a domain": "12.34", "a composite": "(1,12.34)"}


@pytest.fixture(scope="module")
def far_away() -> Iterator[Server]:
    """Give a server that knows the locales of a few countries, made for it."""
    if not all((SOURCES / name.partition(".")[0]).is_file() for name in LOCALES):
        pytest.skip(f"no sources of locales in {SOURCES}")
    # The server may run as another user, who can't enter pytest's folders.
    with TemporaryDirectory(prefix="migrator-test-") as made, pytest.MonkeyPatch.context() as patch:
        folder = Path(made)
        folder.chmod(0o755)
        for name in LOCALES:
            subprocess.run(["localedef", "-i", name.partition(".")[0], "-f", "UTF-8", str(folder / name)], check=True)
        patch.setitem(vars(server)["_ENVIRONMENT"], "LOCPATH", str(folder))
        with quick_server() as own:
            yield Server("far away", own.url("postgres"))


@pytest.fixture
def abroad(far_away: Server) -> Iterator[Database]:
    """Give a database there."""
    with database_on(far_away) as database:
        yield database


async def _begun(database: Database, locale: str, target: str) -> None:
    await database.execute(target)
    await database.execute(f"ALTER DATABASE {database.name} SET lc_monetary = '{locale}'", as_admin=True)


@pytest.mark.parametrize("locale", [name for name, digits in LOCALES.items() if digits == 2])
async def test_amounts_with_cents(locale: str, make_sqlite: MakeSqlite, abroad: Database) -> None:
    """The application's own sessions read what the source says, whatever the locale's signs are."""
    source = make_sqlite("CREATE TABLE t (id INTEGER PRIMARY KEY, amount TEXT)", {"t": [(1, "1234.56"), (2, "-0.07")]})
    await _begun(abroad, locale, TARGETS["a column"])
    await run.run(settings_of(source, abroad), Tracker())
    rows = await abroad.fetch("SELECT amount::numeric::text, current_setting('lc_monetary') FROM t ORDER BY id")
    assert [tuple(row) for row in rows] == [("1234.56", locale), ("-0.07", locale)]


@pytest.mark.parametrize("kind", TARGETS)
@pytest.mark.parametrize("locale", [name for name, digits in LOCALES.items() if digits != 2])
async def test_amounts_with_other_coins(locale: str, kind: str, make_sqlite: MakeSqlite, abroad: Database) -> None:
    """Refused with 4 by name, by check as by run; and each way on that is named works."""
    source = make_sqlite("CREATE TABLE t (id INTEGER PRIMARY KEY, amount TEXT)", {"t": [(1, VALUES[kind])]})
    await _begun(abroad, locale, TARGETS[kind])
    settings = settings_of(source, abroad)
    for look in (check.check, run.run):
        with pytest.raises(TargetRefused, match=rf"'{locale}' with {LOCALES[locale]} digits.*public\.t\.amount"):
            await look(settings, Tracker())
    assert await contents(abroad, "t") == []
    await abroad.execute(f"ALTER DATABASE {abroad.name} SET lc_monetary = 'C'", as_admin=True)
    await run.run(settings, Tracker())
    assert len(await contents(abroad, "t")) == 1


async def test_where_no_money_is_carried(make_sqlite: MakeSqlite, abroad: Database) -> None:
    """A locale matters to nobody else, nor where the column is left out."""
    source = make_sqlite("CREATE TABLE t (id INTEGER PRIMARY KEY, amount TEXT)", {"t": [(1, "12.34")]})
    await _begun(abroad, "ja_JP.UTF-8", TARGETS["a column"])
    await run.run(settings_of(source, abroad, exclude="t.amount"), Tracker())
    assert await contents(abroad, "t") == ["(1,)"]

"""``cli.lean_imports``: parts of libraries that nothing here uses are not loaded, and still there for others."""

import dataclasses
import subprocess
import sys
from collections.abc import Callable
from dataclasses import InitVar, asdict, dataclass, field, replace
from typing import Any

import pytest
from fix_job import clean_environment

from migrator.cli.lean_imports import compile_late

AS_THEY_ARE = pytest.mark.skipif(sys.version_info >= (3, 13), reason="this Python's data classes stay as they are")

LEAN = "import sys; from migrator.cli.lean_imports import import_lean; import_lean()\n"


def said(program: str) -> list[str]:
    """Return the lines that a program prints after its imports became lean."""
    command = [sys.executable, "-c", LEAN + program]
    return subprocess.run(
        command, env=clean_environment(), capture_output=True, text=True, check=True
    ).stdout.splitlines()


def test_sqlalchemy_comes_without_its_orm() -> None:
    """An application's env.py may ask for sessions, and gets them."""
    program = "from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine\n"
    program += "print('sqlalchemy.orm' in sys.modules)\n"
    program += "from sqlalchemy.ext.asyncio import async_sessionmaker, AsyncSession, AsyncEngine\n"
    program += "import sqlalchemy.ext.asyncio as all, sqlalchemy.ext.asyncio.engine as engine\n"
    program += "print(all.AsyncConnection is AsyncConnection is engine.AsyncConnection, AsyncSession.__module__)\n"
    program += "print('sqlalchemy.orm' in sys.modules, hasattr(all, 'nothing'))"
    assert said(program) == ["False", "True sqlalchemy.ext.asyncio.session", "True False"]


def test_adbc_and_duckdb_come_without_datasets() -> None:
    """Both read Arrow all the same."""
    program = "import duckdb\nfrom adbc_driver_sqlite import dbapi\n"
    program += "with dbapi.connect() as connection, connection.cursor() as cursor:\n"
    program += "    cursor.execute('SELECT 1 AS a')\n    reader = cursor.fetch_record_batch()\n"
    program += (
        "    print(duckdb.connect().register('rows_read', reader).execute('SELECT a + 1 FROM rows_read').fetchall())\n"
    )
    program += "print(sys.modules['pyarrow.dataset'])"
    assert said(program) == ["[(2,)]", "None"]


def test_arrow_makes_the_functions_that_are_asked_for() -> None:
    """They are called by position and by name, as ever; a name that there isn't is an error."""
    program = "import inspect, pyarrow as pa, pyarrow.compute as pc\nprint('add' in vars(pc), hasattr(pc, 'nothing'))\n"
    program += "print(pc.add(1, 2), pc.and_(True, False), pc.utf8_trim(pa.array([' a ']), characters=' ')[0])\n"
    program += "from pyarrow.compute import min_max\nprint(inspect.signature(min_max))\n"
    program += "print('add' in vars(pc), pc.function_registry().get_function('add').name)"
    assert said(program) == [
        "False False",
        "3 False a",
        "(array, /, *, skip_nulls=True, min_count=1, options=None, memory_pool=None)",
        "True add",
    ]


def test_what_is_loaded_already_stays() -> None:
    """A program that calls the command line may have loaded the whole before."""
    program = "del sys.modules['pyarrow.dataset']\nimport pyarrow.dataset as whole\nimport_lean()\n"
    program += "from adbc_driver_sqlite import dbapi\nimport pyarrow.dataset\n"
    program += "print(pyarrow.dataset is whole, hasattr(whole, 'Scanner'))"
    assert said(program) == ["True True"]


@pytest.fixture
def late(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Let the data classes of this test be compiled late from the call on."""
    functions = vars(dataclasses)
    monkeypatch.setitem(functions, "_create_fn", functions["_create_fn"])
    return compile_late


def behaviour() -> list[object]:
    """Return what data classes that are made now answer."""

    @dataclass(frozen=True, slots=True, order=True)
    class Point:
        x: int
        y: list[int] = field(default_factory=list, hash=False)
        z: str = field(default="me", repr=False)

    @dataclass(frozen=True, slots=True, order=True)
    class Named(Point):
        name: str = "none"

    @dataclass
    class Open:
        value: "int"
        base: InitVar[int] = 1

        def __post_init__(self, base: int) -> None:
            self.value += base

    point, named = Point(1, [2]), Named(1, [2], name="a")
    answers: list[object] = [
        repr(point),
        repr(named),
        repr(Open(2, base=3)),
        point == Point(1, y=[2]),
        point == named,
        Point(1) < Point(2),
        hash(point) == hash(Point(1, [3])),
        {Point(1): 1}[Point(1)],
        replace(point, x=5) == Point(5, [2]),
        asdict(named),
        [Point.__init__.__qualname__, Point.__init__.__name__, Point.__eq__.__qualname__],
        Open(1) == Open(1),
    ]
    anyhow: Any = Point
    wrong: tuple[Callable[[], object], ...] = (
        anyhow,
        lambda: anyhow(1, a=2),
        lambda: setattr(point, "x", 2),
        lambda: delattr(named, "name"),
        lambda: hash(Open(1)),
    )
    for call in wrong:
        with pytest.raises((TypeError, AttributeError)) as failed:
            call()
        answers.append(str(failed.value))
    return answers


@AS_THEY_ARE
def test_data_classes_behave_as_usual(late: Callable[[], None]) -> None:
    """Fields, defaults, order, hashes, inheritance, and the messages of wrong calls."""
    usual = behaviour()
    late()
    assert behaviour() == usual


@AS_THEY_ARE
def test_a_method_is_compiled_with_its_first_call(late: Callable[[], None]) -> None:
    """Before it, the class has a stand-in; after it, the method itself."""
    late()

    @dataclass(frozen=True, slots=True)
    class Point:
        x: int

    assert Point.__init__.__code__.co_name == "late"
    Point(1)
    assert Point.__init__.__code__.co_varnames[:2] == ("self", "x")
    assert Point.__eq__.__code__.co_name == "late"

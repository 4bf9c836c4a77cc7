"""``cli.lean_imports``: parts of libraries that nothing here uses are not loaded, and still there for others."""

import subprocess
import sys

from fix_job import clean_environment

LEAN = "import sys; from migrator.cli.lean_imports import import_lean; import_lean()\n"


def said(program: str) -> list[str]:
    """Return the lines that a program prints after its imports became lean."""
    command = [sys.executable, "-c", LEAN + program]
    return subprocess.run(
        command, env=clean_environment(), capture_output=True, text=True, check=True
    ).stdout.splitlines()


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


def test_what_is_loaded_already_stays() -> None:
    """A program that calls the command line may have loaded the whole before."""
    program = "del sys.modules['pyarrow.dataset']\nimport pyarrow.dataset as whole\nimport_lean()\n"
    program += "from adbc_driver_sqlite import dbapi\nimport pyarrow.dataset\n"
    program += "print(pyarrow.dataset is whole, hasattr(whole, 'Scanner'))"
    assert said(program) == ["True True"]

"""`sqlite3 | psql` through CSV: what most answers on the web come to, for a schema that is there already."""

import shlex
import shutil
from collections.abc import Callable
from typing import Final

from benchmark.contenders.contender import Bench, Contender, Outcome
from benchmark.dataset import Dataset, Kind

_PROGRAM: Final = "sqlite3"


def missing(_: Bench) -> str:
    """Say why it can't be run."""
    return "" if shutil.which(_PROGRAM) else f"`{_PROGRAM}` is not installed (Debian's package has that name)"


def _load(rows: Callable[[Kind], str]) -> Callable[[Bench, str], Outcome]:
    def load(bench: Bench, url: str) -> Outcome:
        script = bench.folder / "csv.sh"
        psql = f"{shlex.quote(str(bench.server.psql))} --no-psqlrc --quiet --set=ON_ERROR_STOP=1 {shlex.quote(url)}"
        lines = (
            f"{_PROGRAM} -csv {shlex.quote(str(bench.source))} {shlex.quote(rows(kind))} | "
            rf"{psql} -c '\copy {kind.name} FROM STDIN (FORMAT csv)'"
            for kind in bench.data.kinds
        )
        script.write_text("\n".join(["set -euo pipefail", *lines, f"{psql} -c ANALYZE", ""]))
        return bench.execute(["bash", script])

    return load


def _as_it_is(kind: Kind) -> str:
    return f"SELECT * FROM {kind.name}"


def _blobs_as_hex(kind: Kind) -> str:
    """Spell BLOBs as PostgreSQL reads them, which CSV can't carry otherwise."""
    columns = (rf"'\x' || hex({name})" if declared == "BLOB" else name for name, declared in kind.source_columns)
    return f"SELECT {', '.join(columns)} FROM {kind.name}"


AS_IT_IS = Contender(
    "csv",
    "sqlite3 | psql, CSV",
    r"For each table `sqlite3 -csv source.db 'SELECT * FROM …' | psql -c '\copy … FROM STDIN (FORMAT csv)'`, into the "
    "application's tables.",
    Dataset.target_schema,
    _load(_as_it_is),
    missing,
)

BLOBS_AS_HEX = Contender(
    "csv-hex",
    "sqlite3 | psql, CSV, BLOBs as hex",
    "The same with `hex()` around every BLOB, which somebody has to write for each table.",
    Dataset.target_schema,
    _load(_blobs_as_hex),
    missing,
)

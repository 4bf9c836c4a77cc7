#!/bin/sh
# Usage: trim-venv.sh VENV
#
# Removes from a virtual environment what the migrator never loads, compiles the rest to byte code, and says what each
# step saved. Run while the image is built, on the dependencies alone; the build then runs a copy and a comparison with
# what is left. Needs strip, ld and as (Debian: binutils). What looks removable and is not: libarrow_compute casts, and
# the files *.duckdb_extension have a signature over every byte, so not even their symbols can go. SQLAlchemy's other
# dialects stay, for an application's models may import types from them.
set -eu

venv=${1:?usage: trim-venv.sh VENV}
set -- "$venv"/lib/python3.*/site-packages
packages=$1
[ -d "$packages/pyarrow" ] || { echo "trim-venv.sh: no pyarrow in $packages" >&2; exit 1; }

size() { du -sk "$venv" | cut -f 1; }
before=$(size)
echo "trim-venv.sh: $before kB as installed"
saved() {
    after=$(size)
    echo "trim-venv.sh: $after kB, saved $((before - after)) kB: $1"
    before=$after
}

rm -rf "$packages"/pyarrow/include "$packages"/pyarrow/includes "$packages"/pyarrow/src "$packages"/pyarrow/tests \
    "$packages"/pyarrow/_pyarrow_cpp_tests*
saved "pyarrow's headers and tests"

# The wheel holds each of these libraries three times, as name.so, name.so.NNNN and name.so.NNNN.N.N; the second is the
# one that is linked.
rm -f "$packages"/pyarrow/libarrow_python*.so "$packages"/pyarrow/libarrow_python*.so.*.*.*
saved "pyarrow's libraries that are there three times"

rm -f "$packages"/pyarrow/*flight*.so* "$packages"/pyarrow/flight.py \
    "$packages"/pyarrow/libarrow_s3.so* "$packages"/pyarrow/_s3fs* "$packages"/pyarrow/_gcsfs* \
    "$packages"/pyarrow/_azurefs* "$packages"/pyarrow/_hdfs*
saved "Arrow over the network (Flight), and file systems of clouds"

# pyarrow's own library is linked against all of these and uses nothing of them: an empty library in the place of each
# is enough. The modules that do use them go with them. DuckDB and the ADBC drivers do without pyarrow.dataset.
empty=$(mktemp -d)
as -o "$empty/empty.o" /dev/null
for library in "$packages"/pyarrow/libarrow_acero.so.* "$packages"/pyarrow/libarrow_dataset.so.* \
    "$packages"/pyarrow/libarrow_substrait.so.* "$packages"/pyarrow/libparquet.so.*; do
    [ -e "$library" ] || continue # no such library in this version: the pattern stands for itself
    ld -shared -soname "$(basename "$library")" -o "$library" "$empty/empty.o"
done
rm -rf "$empty" "$packages"/pyarrow/_acero.* "$packages"/pyarrow/_dataset* "$packages"/pyarrow/_feather.* \
    "$packages"/pyarrow/_csv.* "$packages"/pyarrow/csv.py "$packages"/pyarrow/_json.* "$packages"/pyarrow/json.py \
    "$packages"/pyarrow/_orc.* "$packages"/pyarrow/_parquet* "$packages"/pyarrow/_substrait.* \
    "$packages"/pyarrow/libarrow_python_parquet_encryption.so* "$packages"/pyarrow/acero.py \
    "$packages"/pyarrow/dataset.py "$packages"/pyarrow/feather.py "$packages"/pyarrow/orc.py \
    "$packages"/pyarrow/parquet "$packages"/pyarrow/substrait.py
saved "Arrow in files (Parquet, ORC, Feather, CSV, JSON), in plans (Acero, Substrait), and in datasets of both"

rm -rf "$packages"/asyncpg/_testbase "$packages"/sqlalchemy/testing "$packages"/alembic/testing \
    "$packages"/duckdb/experimental
find "$packages" -type f \( -name '*.pyx' -o -name '*.pxd' -o -name '*.pxi' -o -name '*.c' -o -name '*.cc' \
    -o -name '*.h' -o -name '*.hpp' -o -name '*.pyi' \) -delete
saved "test suites, experiments, sources of compiled modules, type stubs"

# rich colours tracebacks of Python with it, and nothing else.
[ ! -d "$packages/pygments/lexers" ] || find "$packages/pygments/lexers" -name '*.py' \
    ! -name '__init__.py' ! -name '_mapping.py' ! -name 'python.py' ! -name 'special.py' -delete
saved "pygments' other languages"

# rich reads Markdown with them, which nothing here prints.
rm -rf "$packages"/markdown_it "$packages"/mdurl
saved "readers of Markdown"

find "$packages" -type f -name '*.so*' -exec strip --strip-unneeded {} +
saved "symbols that only a debugger reads"

# The root file system is read-only at run time: what is not compiled now is compiled at every start. Checked by hash
# and not by time, or rather not checked at all, the files are the same in every build.
"$venv"/bin/python -m compileall -q -j 0 --invalidation-mode unchecked-hash "$venv"/lib
saved "byte code (it takes room, and saves two thirds of the start)"

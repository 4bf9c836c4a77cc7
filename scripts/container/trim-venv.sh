#!/bin/sh
# Usage: trim-venv.sh VENV
#
# Removes from a virtual environment what the migrator never loads, and compiles the rest to byte code. Run while the
# image is built, on the dependencies alone. What may go was found by removing it and running a copy and a comparison;
# what looks removable and is not: libarrow_substrait, _dataset, _acero, _compute and libparquet are linked by pyarrow's
# own library, and without pyarrow's Python modules for files the ADBC drivers refuse to work.
set -eu

venv=${1:?usage: trim-venv.sh VENV}
set -- "$venv"/lib/python3.*/site-packages
packages=$1
[ -d "$packages/pyarrow" ] || { echo "trim-venv.sh: no pyarrow in $packages" >&2; exit 1; }

# What compiles against pyarrow, and its tests.
rm -rf "$packages"/pyarrow/include "$packages"/pyarrow/includes "$packages"/pyarrow/src "$packages"/pyarrow/tests \
    "$packages"/pyarrow/_pyarrow_cpp_tests*

# The wheel holds each of these libraries three times, as name.so, name.so.NNNN and name.so.NNNN.N.N; the second is the
# one that is linked.
rm -f "$packages"/pyarrow/libarrow_python*.so "$packages"/pyarrow/libarrow_python*.so.*.*.*

# Arrow over the network, and file systems that are not on this machine.
rm -f "$packages"/pyarrow/*flight*.so* "$packages"/pyarrow/flight.py \
    "$packages"/pyarrow/libarrow_s3.so* "$packages"/pyarrow/_s3fs* "$packages"/pyarrow/_gcsfs* \
    "$packages"/pyarrow/_azurefs* "$packages"/pyarrow/_hdfs*

# Test suites that are installed with their libraries.
rm -rf "$packages"/asyncpg/_testbase "$packages"/sqlalchemy/testing "$packages"/alembic/testing

# Sources of compiled modules, and type stubs.
find "$packages" -type f \( -name '*.pyx' -o -name '*.pxd' -o -name '*.pxi' -o -name '*.c' -o -name '*.cc' \
    -o -name '*.h' -o -name '*.hpp' -o -name '*.pyi' \) -delete

# Symbols that only a debugger reads: more than everything above together.
find "$packages" -type f -name '*.so*' -exec strip --strip-unneeded {} +

# The root file system is read-only at run time: what is not compiled now is compiled at every start. Checked by hash
# and not by time, or rather not checked at all, the files are the same in every build.
"$venv"/bin/python -m compileall -q -j 0 --invalidation-mode unchecked-hash "$venv"/lib

"""
The benchmark: ways from SQLite to PostgreSQL, measured against each other and against PostgreSQL itself.

- ``__main__`` is the command line, ``everything`` the list of sources that the documentation shows.
- ``measure`` lets everybody run in turn, ``trap`` sees who notices a loss.
- ``dataset`` makes the source, ``server`` is what everybody loads into, ``processes`` measures a command.
- ``contenders/`` holds one module for each way; ``programs/`` those that are programs of their own.
- ``reference`` makes and proves the result that all are held to, ``contents`` compares with it.
- ``results`` keeps what was measured, ``figures`` computes what counts, ``table`` shows it on a terminal, ``page`` and
  ``drawings`` in docs/explanation/benchmarks.md, by way of scripts/docs.py.
"""

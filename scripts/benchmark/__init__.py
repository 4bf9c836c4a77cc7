"""
The benchmark: ways from SQLite to PostgreSQL, measured against each other and against PostgreSQL itself.

``__main__`` is the command line, ``measure`` lets everybody run in turn. Below it: ``dataset`` makes the source,
``server`` is what everybody loads into, ``contenders/`` holds one module for each way, ``reference`` makes the result
that all are held to, ``contents`` compares with it. ``results`` keeps what was measured, ``figures`` computes what
counts, ``table`` shows it on a terminal.
"""

"""The queries about sequences: who feeds what, by dependencies, by code and by names."""

_NUMBERS = """
numbers(oid) AS (
    SELECT unnest(ARRAY['int2', 'int4', 'int8', 'numeric']::regtype[])::oid
    UNION
    SELECT t.oid FROM numbers JOIN pg_type t ON t.typbasetype = numbers.oid AND t.typtype = 'd'
)"""

_LISTED = """
listed AS (
    SELECT place::int AS place, CAST(name AS regclass)::oid AS oid
    FROM unnest(CAST(:tables AS text[])) WITH ORDINALITY AS given(name, place)
)"""

# The sequences that columns own, and those on which defaults depend.
RECORDED = f"""
WITH {_LISTED}
SELECT place, d.oid, a.attname FROM (
    SELECT place, listed.oid AS fed, objid AS oid, refobjsubid AS attnum FROM listed
    JOIN pg_depend ON refobjid = listed.oid AND refclassid = 'pg_class'::regclass
    WHERE classid = 'pg_class'::regclass AND deptype IN ('a', 'i')
    UNION
    SELECT place, listed.oid, e.refobjid, f.adnum FROM listed
    JOIN pg_attrdef f ON f.adrelid = listed.oid
    JOIN pg_depend e ON e.classid = 'pg_attrdef'::regclass AND e.objid = f.oid AND e.refclassid = 'pg_class'::regclass
) d
JOIN pg_sequence s ON s.seqrelid = d.oid
JOIN pg_attribute a ON a.attrelid = d.fed AND a.attnum = d.attnum
"""

# PostgreSQL records no dependency for nextval('name'::text), nor for what a function in another language than SQL
# calls. A function with a body in standard SQL has no text, and depends on the sequence.
CODE = f"""
WITH {_LISTED}, functions AS (
    SELECT p.oid, concat(p.prosrc, (
        SELECT string_agg(format(' nextval(%L)', e.refobjid::regclass), '') FROM pg_depend e
        JOIN pg_sequence s ON s.seqrelid = e.refobjid
        WHERE e.classid = 'pg_proc'::regclass AND e.objid = p.oid AND e.refclassid = 'pg_class'::regclass)) AS code
    FROM pg_proc p
    WHERE p.oid IN (
        SELECT t.tgfoid FROM listed JOIN pg_trigger t ON t.tgrelid = listed.oid AND NOT t.tgisinternal
        UNION ALL
        SELECT e.refobjid FROM listed JOIN pg_attrdef f ON f.adrelid = listed.oid
        JOIN pg_depend e ON e.classid = 'pg_attrdef'::regclass AND e.objid = f.oid
        WHERE e.refclassid = 'pg_proc'::regclass)
), code AS (
    SELECT place, listed.oid, f.adnum, pg_get_expr(f.adbin, f.adrelid) AS code
    FROM listed JOIN pg_attrdef f ON f.adrelid = listed.oid
    WHERE NOT EXISTS (
        SELECT FROM pg_depend e JOIN pg_sequence s ON s.seqrelid = e.refobjid
        WHERE e.classid = 'pg_attrdef'::regclass AND e.objid = f.oid AND e.refclassid = 'pg_class'::regclass)
    UNION ALL
    SELECT place, listed.oid, f.adnum, functions.code FROM listed JOIN pg_attrdef f ON f.adrelid = listed.oid
    JOIN pg_depend e ON e.classid = 'pg_attrdef'::regclass AND e.objid = f.oid AND e.refclassid = 'pg_proc'::regclass
    JOIN functions ON functions.oid = e.refobjid
    UNION ALL
    SELECT place, listed.oid, NULL, functions.code FROM listed
    JOIN pg_trigger t ON t.tgrelid = listed.oid AND NOT t.tgisinternal
    JOIN functions ON functions.oid = t.tgfoid
)
SELECT place, n.nspname AS schema_name, a.attname, code.code FROM code
JOIN pg_class c ON c.oid = code.oid JOIN pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_attribute a ON a.attrelid = code.oid AND a.attnum = code.adnum
WHERE code.code ILIKE '%nextval%'
"""

# The first spelling that is a sequence's counts.
RESOLVED = """
SELECT (
    SELECT s.seqrelid FROM unnest(CAST(string_to_array(spellings, E'\\n') AS text[])) WITH ORDINALITY AS o(name, nth)
    JOIN pg_sequence s ON s.seqrelid = to_regclass(o.name) ORDER BY nth LIMIT 1)
FROM unnest(CAST(:spellings AS text[])) WITH ORDINALITY AS given(spellings, place)
ORDER BY place
"""

# Sequences that no column owns and that no default depends on. Sequences of extensions don't belong to the application.
FREE = """
SELECT c.oid, c.relname, c.oid::regclass::text AS sequence
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'S' AND n.nspname = ANY (CAST(:schemas AS text[]))
  AND NOT EXISTS (
      SELECT FROM pg_depend d
      WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype IN ('a', 'i', 'e'))
  AND NOT EXISTS (
      SELECT FROM pg_depend d
      WHERE d.classid = 'pg_attrdef'::regclass AND d.refclassid = 'pg_class'::regclass AND d.refobjid = c.oid)
ORDER BY c.oid::regclass::text
"""

COLUMNS = f"""
WITH RECURSIVE {_NUMBERS}, {_LISTED}
SELECT listed.place, c.relname, a.attname, i.indexrelid IS NOT NULL
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
LEFT JOIN listed ON listed.oid = c.oid
LEFT JOIN pg_index i ON i.indrelid = c.oid AND i.indisprimary AND i.indnatts = 1 AND i.indkey[0] = a.attnum
WHERE c.relkind IN ('r', 'p') AND n.nspname = ANY (CAST(:schemas AS text[]))
  AND a.atttypid IN (SELECT oid FROM numbers)
ORDER BY c.relname, a.attnum
"""

DESCRIBED = f"""
WITH RECURSIVE {_NUMBERS}
SELECT given.at, s.seqrelid::regclass::text AS sequence, a.attname, s.seqincrement, s.seqmin, s.seqmax,
       a.atttypid IN (SELECT oid FROM numbers) AS is_number
FROM unnest(CAST(:tables AS text[]), CAST(:columns AS text[]), CAST(:sequences AS oid[]))
     WITH ORDINALITY AS given(table_name, column_name, oid, at)
JOIN pg_sequence s ON s.seqrelid = given.oid
JOIN pg_attribute a ON a.attrelid = CAST(given.table_name AS regclass) AND a.attname = given.column_name
WHERE NOT a.attisdropped
ORDER BY given.at
"""

"""Holds the catalog queries for the constraints by which PostgreSQL judges rows. Each query takes the ``schema``."""

_TREE = """
WITH tree AS (
    SELECT c.oid AS root_oid, c.relname AS root, c.oid AS relid, NULL::oid AS parent, 0 AS level
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = :schema AND c.relkind IN ('r', 'p') AND NOT c.relispartition
    UNION ALL
    SELECT c.oid, c.relname, p.relid, p.parentrelid, p.level
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    CROSS JOIN LATERAL pg_catalog.pg_partition_tree(c.oid) p
    WHERE n.nspname = :schema AND c.relkind = 'p' AND NOT c.relispartition AND p.level > 0
)
"""

_RELATION = "(SELECT format('%I.%I', s.nspname, r.relname) FROM pg_class r JOIN pg_namespace s ON s.oid = r.relnamespace WHERE r.oid = {})"  # noqa: E501

# pg_depend has a line for each column that an expression depends on. It may lack the plain columns of an index, so the
# queries add those themselves.
_DEPENDS = """
ARRAY(SELECT a.attname::text FROM pg_attribute a
      WHERE a.attrelid = tree.relid AND a.attnum > 0 AND (a.attnum = ANY ({plain}) OR EXISTS (
          SELECT FROM pg_depend d
          WHERE d.classid = '{catalog}'::regclass AND d.objid = {object} AND d.refclassid = 'pg_class'::regclass
            AND d.refobjid = tree.relid AND d.refobjsubid = a.attnum))
      ORDER BY array_position({plain}, a.attnum), a.attnum)
"""

CHECKS = f"""
{_TREE}
SELECT tree.root, k.conname AS name, {_RELATION.format("tree.relid")} AS relation,
       CASE k.contype WHEN 'c' THEN 'check constraint' ELSE 'exclusion constraint' END AS kind,
       pg_get_constraintdef(k.oid) AS definition,
       {_DEPENDS.format(catalog="pg_class", object="k.conindid", plain="k.conkey")} AS columns,
       ARRAY(SELECT CASE WHEN l.lanname IN ('sql', 'plpgsql') THEN p.prosrc ELSE '' END
             FROM pg_depend d JOIN pg_proc p ON p.oid = d.refobjid JOIN pg_language l ON l.oid = p.prolang
             WHERE d.classid = 'pg_constraint'::regclass AND d.objid = k.oid
               AND d.refclassid = 'pg_proc'::regclass AND p.provolatile <> 'i'
               AND NOT EXISTS (SELECT FROM pg_depend e WHERE e.classid = 'pg_proc'::regclass AND e.objid = p.oid
                               AND e.deptype = 'e')) AS unstable
FROM tree JOIN pg_constraint k ON k.conrelid = tree.relid
WHERE k.contype IN ('c', 'x') AND (tree.level = 0 OR (k.coninhcount = 0 AND k.conparentid = 0))
  AND coalesce(to_jsonb(k) ->> 'conenforced', 'true') = 'true'
ORDER BY tree.root, tree.level, k.conname
"""

# The definition is returned without the words before USING. pg_get_indexdef writes these words from the parts that are
# named in the query (ruleutils.c), so their length is known.
INDEXES = f"""
{_TREE}
SELECT tree.root, i.relname AS name, {_RELATION.format("tree.relid")} AS relation, m.amname AS method,
       x.indisunique AS unique,
       substr(pg_get_indexdef(i.oid), 1 + length(
           'CREATE ' || CASE WHEN x.indisunique THEN 'UNIQUE ' ELSE '' END || 'INDEX ' || quote_ident(i.relname)
           || ' ON ' || CASE WHEN i.relkind = 'I' THEN 'ONLY ' ELSE '' END
           || {_RELATION.format("tree.relid")})) AS definition,
       {_DEPENDS.format(catalog="pg_class", object="i.oid", plain="x.indkey::int2[]")} AS columns,
       pg_get_expr(x.indexprs, x.indrelid) AS expressions, pg_get_expr(x.indpred, x.indrelid) AS predicate,
       EXISTS (SELECT FROM unnest(x.indcollation::oid[]) AS used(oid) JOIN pg_collation l ON l.oid = used.oid
               WHERE NOT l.collisdeterministic) AS nondeterministic,
       ARRAY(SELECT t.typname::text {{columns}} AND place <= x.indnkeyatts ORDER BY place) AS types,
       ARRAY(SELECT t.typtype::text {{columns}} AND place <= x.indnkeyatts ORDER BY place) AS kinds,
       ARRAY(SELECT t.typname::text {{columns}} AND t.typlen < 0 ORDER BY place) AS variable,
       EXISTS (SELECT {{columns}} AND a.attgenerated <> '' AND t.typlen < 0) AS computed
FROM tree JOIN pg_index x ON x.indrelid = tree.relid
JOIN pg_class i ON i.oid = x.indexrelid
JOIN pg_am m ON m.oid = i.relam
WHERE NOT x.indisexclusion AND NOT EXISTS (SELECT FROM pg_inherits h WHERE h.inhrelid = i.oid)
ORDER BY tree.root, tree.level, i.relname
""".format(  # domains are followed one step only, because a domain over a domain is rare
    columns="""
    FROM unnest(x.indkey::int2[]) WITH ORDINALITY AS part(attnum, place)
    JOIN pg_attribute a ON a.attrelid = x.indrelid AND a.attnum = part.attnum
    JOIN pg_type own ON own.oid = a.atttypid
    JOIN pg_type t ON t.oid = coalesce(nullif(own.typbasetype, 0), own.oid)
    WHERE true"""
)

# A value that PostgreSQL moves out of a row leaves a pointer of 18 bytes, and a value of at most 18 bytes isn't moved
# (PostgreSQL, "TOAST"). With a header and the alignment, a value takes at most 28 bytes, unless its storage is plain.
WIDE = f"""
{_TREE}
SELECT tree.root, '' AS name, {_RELATION.format("tree.relid")} AS relation, 'row' AS kind, '' AS definition,
       array_agg(a.attname::text ORDER BY a.attnum) AS columns
FROM tree JOIN pg_attribute a ON a.attrelid = tree.relid AND a.attnum > 0 AND NOT a.attisdropped
WHERE tree.level = 0
GROUP BY tree.root, tree.relid
HAVING sum(CASE WHEN a.attlen > 0 THEN a.attlen + CASE a.attalign WHEN 'd' THEN 7 WHEN 'i' THEN 3 ELSE 1 END
                WHEN a.attstorage = 'p' THEN 8000 ELSE 28 END) > 7900
"""

GENERATED = f"""
{_TREE}
SELECT tree.root, a.attname AS name, {_RELATION.format("tree.relid")} AS relation, 'generated column' AS kind,
       '' AS definition,
       {_DEPENDS.format(catalog="pg_attrdef", object="f.oid", plain="ARRAY[f.adnum]")} AS columns
FROM tree JOIN pg_attribute a ON a.attrelid = tree.relid AND a.attgenerated <> '' AND NOT a.attisdropped
JOIN pg_attrdef f ON f.adrelid = a.attrelid AND f.adnum = a.attnum
WHERE tree.level = 0
ORDER BY tree.root, a.attname
"""

# The catalogs don't say which columns an expression in the partition key uses. So with an expression, the query returns
# all columns of the table.
PARTITIONS = f"""
{_TREE}
SELECT tree.root, {_RELATION.format("tree.relid")} AS relation, {_RELATION.format("tree.parent")} AS parent,
       c.relname AS name, pg_get_expr(c.relpartbound, c.oid) AS bound, pg_get_partkeydef(c.oid) AS key,
       ARRAY(SELECT DISTINCT a.attname::text FROM tree own JOIN pg_partitioned_table p ON p.partrelid = own.relid
             JOIN pg_attribute a ON a.attrelid = tree.root_oid AND a.attnum > 0 AND NOT a.attisdropped
             WHERE own.root_oid = tree.root_oid AND (0 = ANY (p.partattrs::int2[]) OR a.attname IN (
                 SELECT used.attname FROM pg_attribute used
                 WHERE used.attrelid = own.relid AND used.attnum = ANY (p.partattrs::int2[])))) AS columns
FROM tree JOIN pg_class c ON c.oid = tree.relid
WHERE EXISTS (SELECT FROM pg_partitioned_table p WHERE p.partrelid = tree.root_oid)
ORDER BY tree.root, tree.level, c.relname
"""

# The definition of a foreign key is a condition that is true for rows that break the key. If the child's rows are on
# trial, the condition is over them, ``t``. If the parent's rows are on trial, it is over ``c``, the child's rows in the
# target. The comparison uses the operators of the key itself. On both sides of a key, rows of inheriting tables don't
# count (PostgreSQL, "Inheritance": Caveats), and rows of partitions do count.
FOREIGN = f"""
WITH keys AS (
    SELECT k.conrelid, k.confrelid,
           (SELECT format('c.tableoid = %s AND ', oid) FROM pg_class WHERE oid = k.conrelid AND relkind <> 'p')
               AS child,
           (SELECT format('p.tableoid = %s AND ', oid) FROM pg_class WHERE oid = k.confrelid AND relkind <> 'p')
               AS parent, k.conname, k.confmatchtype = 'f' AND cardinality(k.conkey) > 1 AS whole,
           array_agg(a.attname::text ORDER BY place) AS own, array_agg(b.attname::text ORDER BY place) AS parents,
           array_agg(format('OPERATOR(%I.%s)', s.nspname, o.oprname) ORDER BY place) AS equal
    FROM pg_constraint k
    CROSS JOIN unnest(k.conkey, k.confkey, k.conpfeqop) WITH ORDINALITY AS part(own, parent, operator, place)
    JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = part.own
    JOIN pg_attribute b ON b.attrelid = k.confrelid AND b.attnum = part.parent
    JOIN pg_operator o ON o.oid = part.operator
    JOIN pg_namespace s ON s.oid = o.oprnamespace
    WHERE k.contype = 'f' AND k.conparentid = 0 AND k.convalidated
    GROUP BY k.oid, k.conrelid, k.confrelid, k.conname, k.confmatchtype, k.conkey
)
SELECT c.relname AS root, keys.conname AS name, {_RELATION.format("keys.confrelid")} AS relation,
       'foreign key' AS kind, keys.own AS columns,
       (SELECT string_agg(format('t.%I IS NOT NULL', own), ' AND ') || ' AND NOT EXISTS (SELECT FROM '
               || {_RELATION.format("keys.confrelid")} || ' p WHERE ' || coalesce(keys.parent, '')
               || string_agg(format('p.%I %s t.%I', parent, equal, own), ' AND ') || ')'
               || CASE WHEN whole THEN ' OR num_nulls(' || string_agg(format('t.%I', own), ', ') || ') BETWEEN 1 AND '
                       || count(*) - 1 ELSE '' END
        FROM unnest(keys.own, keys.parents, keys.equal) AS part(own, parent, equal)) AS definition
FROM keys JOIN pg_class c ON c.oid = keys.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = :schema
UNION ALL
SELECT c.relname, keys.conname, {_RELATION.format("keys.conrelid")}, 'foreign key of another table', keys.parents,
       (SELECT coalesce(keys.child, '') || string_agg(format('c.%I IS NOT NULL', own), ' AND ')
               || ' AND NOT EXISTS (SELECT FROM pg_temp.trial t WHERE '
               || string_agg(format('t.%I %s c.%I', parent, equal, own), ' AND ') || ')'
        FROM unnest(keys.own, keys.parents, keys.equal) AS part(own, parent, equal))
FROM keys JOIN pg_class c ON c.oid = keys.confrelid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = :schema
"""

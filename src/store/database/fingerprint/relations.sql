-- Schemas, relations, their columns, constraints, indexes and sequences. One row per object:
-- kind, name, of, facts (key, value, key, value …; a NULL value says nothing), owner, acl, place, oid.
-- A line that ends in "-- from N" is for servers of major N and later, "-- before N" for older ones.
WITH own AS MATERIALIZED (
    SELECT n.oid, n.nspname FROM pg_namespace n
    WHERE n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', 'llmhub')
), member AS MATERIALIZED (
    SELECT classid, objid FROM pg_depend WHERE deptype = 'e'
), relation AS MATERIALIZED (
    SELECT c.*, format('%I.%I', own.nspname, c.relname) AS path FROM pg_class c JOIN own ON own.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S', 'i', 'I')
    AND NOT EXISTS (SELECT FROM member m WHERE m.classid = 'pg_class'::regclass AND m.objid = c.oid)
)
SELECT 'schema' AS kind, format('%I', n.nspname) AS name, NULL AS of,
    ARRAY['comment', d.description] AS facts, pg_get_userbyid(n.nspowner)::text AS owner,
    CASE WHEN n.nspacl IS NOT NULL THEN nullif(coalesce(acl.given, 'nobody'), acl.usual) END AS acl, NULL::int AS place, n.oid::bigint AS oid
FROM pg_namespace n JOIN own ON own.oid = n.oid
LEFT JOIN pg_description d ON d.classoid = 'pg_namespace'::regclass AND d.objoid = n.oid AND d.objsubid = 0
CROSS JOIN LATERAL (SELECT
    (SELECT string_agg(x::text, ', ' ORDER BY x::text COLLATE "C") FROM unnest(n.nspacl) x) AS given,
    (SELECT string_agg(x::text, ', ' ORDER BY x::text COLLATE "C") FROM unnest(acldefault('n', n.nspowner)) x) AS usual) acl
WHERE NOT EXISTS (SELECT FROM member m WHERE m.classid = 'pg_namespace'::regclass AND m.objid = n.oid)

UNION ALL
SELECT CASE c.relkind WHEN 'v' THEN 'view' WHEN 'm' THEN 'materialized_view' WHEN 'f' THEN 'foreign_table' ELSE 'table' END,
    c.path, NULL, ARRAY[
    'persistence', CASE c.relpersistence WHEN 'u' THEN 'unlogged' END,
    'options', (SELECT string_agg(x, ', ' ORDER BY x COLLATE "C") FROM unnest(c.reloptions) x),
    'toast options', (SELECT string_agg(x, ', ' ORDER BY x COLLATE "C") FROM unnest(t.reloptions) x),
    'row security', CASE WHEN c.relforcerowsecurity AND c.relrowsecurity THEN 'enabled and forced'
        WHEN c.relrowsecurity THEN 'enabled' WHEN c.relforcerowsecurity THEN 'forced' END,
    'replica identity', CASE c.relreplident WHEN 'n' THEN CASE WHEN c.relkind IN ('r', 'p') THEN 'nothing' END
        WHEN 'f' THEN 'full' WHEN 'i' THEN 'an index' END,
    'access method', nullif(am.amname::text, 'heap'),
    'tablespace', s.spcname::text,
    'type', nullif(c.reloftype, 0)::regtype::text,
    'partitioned by', CASE WHEN c.relkind = 'p' THEN pg_get_partkeydef(c.oid) END,
    'partition of', CASE WHEN c.relispartition THEN parent.names END,
    'partition bound', CASE WHEN c.relispartition THEN pg_get_expr(c.relpartbound, c.oid) END,
    'inherits', CASE WHEN NOT c.relispartition THEN parent.names END,
    'definition', CASE WHEN c.relkind IN ('v', 'm') THEN btrim(pg_get_viewdef(c.oid)) END,
    'columns', CASE WHEN c.relkind IN ('v', 'm') THEN (SELECT string_agg(format('%I %s', a.attname,
        format_type(a.atttypid, a.atttypmod)), ', ' ORDER BY a.attnum) FROM pg_attribute a
        WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped) END,
    'detached', CASE WHEN parent.pending THEN 'half' END, -- from 14
    'populated', CASE WHEN c.relkind = 'm' AND NOT c.relispopulated THEN 'no' END,
    'server', fs.srvname::text,
    'server options', (SELECT string_agg(x, ', ' ORDER BY x COLLATE "C") FROM unnest(ft.ftoptions) x),
    'comment', d.description],
    pg_get_userbyid(c.relowner)::text,
    CASE WHEN c.relacl IS NOT NULL THEN nullif(
        coalesce((SELECT string_agg(x::text, ', ' ORDER BY x::text COLLATE "C") FROM unnest(c.relacl) x), 'nobody'),
        (SELECT string_agg(x::text, ', ' ORDER BY x::text COLLATE "C") FROM unnest(acldefault('r', c.relowner)) x)) END,
    CASE WHEN c.relkind IN ('r', 'p', 'f') THEN c.relnatts::int END, c.oid::bigint
FROM relation c
LEFT JOIN pg_class t ON t.oid = c.reltoastrelid AND t.reloptions IS NOT NULL
LEFT JOIN pg_am am ON am.oid = c.relam
LEFT JOIN pg_tablespace s ON s.oid = c.reltablespace
LEFT JOIN pg_foreign_table ft ON ft.ftrelid = c.oid
LEFT JOIN pg_foreign_server fs ON fs.oid = ft.ftserver
LEFT JOIN (SELECT i.inhrelid, string_agg(i.inhparent::regclass::text, ', ' ORDER BY i.inhseqno) AS names
        , bool_or(i.inhdetachpending) AS pending -- from 14
    FROM pg_inherits i GROUP BY 1) parent ON parent.inhrelid = c.oid
LEFT JOIN pg_description d ON d.classoid = 'pg_class'::regclass AND d.objoid = c.oid AND d.objsubid = 0
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f')

UNION ALL
-- The columns of a view are part of its text; they are listed only for what was added to them.
SELECT 'column', format('%I', a.attname), c.path, ARRAY[
    'type', format_type(a.atttypid, a.atttypmod),
    'not null', CASE WHEN a.attnotnull THEN 'yes' END,
    'default', CASE WHEN a.attgenerated = '' THEN pg_get_expr(e.adbin, e.adrelid) END,
    'generated', CASE WHEN a.attgenerated <> '' THEN pg_get_expr(e.adbin, e.adrelid)
        || CASE a.attgenerated WHEN 's' THEN ' stored' ELSE ' virtual' END END,
    'identity', CASE a.attidentity WHEN 'a' THEN 'always' WHEN 'd' THEN 'by default' END,
    'collation', CASE WHEN a.attcollation <> ty.typcollation THEN a.attcollation::regcollation::text END,
    'storage', CASE WHEN a.attstorage <> ty.typstorage THEN
        CASE a.attstorage WHEN 'p' THEN 'plain' WHEN 'e' THEN 'external' WHEN 'm' THEN 'main' ELSE 'extended' END END,
    'compression', CASE a.attcompression WHEN 'p' THEN 'pglz' WHEN 'l' THEN 'lz4' END, -- from 14
    'statistics target', nullif(a.attstattarget, -1)::text,
    'options', (SELECT string_agg(x, ', ' ORDER BY x COLLATE "C") FROM unnest(a.attoptions) x),
    'server options', (SELECT string_agg(x, ', ' ORDER BY x COLLATE "C") FROM unnest(a.attfdwoptions) x),
    'inherited', CASE WHEN NOT a.attislocal THEN 'yes' END,
    'comment', d.description],
    NULL, (SELECT string_agg(x::text, ', ' ORDER BY x::text COLLATE "C") FROM unnest(a.attacl) x), a.attnum::int,
    c.oid::bigint
FROM relation c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
JOIN pg_type ty ON ty.oid = a.atttypid
LEFT JOIN pg_attrdef e ON e.adrelid = a.attrelid AND e.adnum = a.attnum
LEFT JOIN pg_description d ON d.classoid = 'pg_class'::regclass AND d.objoid = c.oid AND d.objsubid = a.attnum
WHERE c.relkind IN ('r', 'p', 'f') OR c.relkind IN ('v', 'm')
AND (e.oid IS NOT NULL OR d.objoid IS NOT NULL OR a.attacl IS NOT NULL OR a.attoptions IS NOT NULL
    OR nullif(a.attstattarget, -1) IS NOT NULL OR c.relkind = 'm' AND a.attstorage <> ty.typstorage)

UNION ALL
-- A plain NOT NULL is a property of its column, which servers from 18 also keep as a constraint.
SELECT 'constraint', format('%I', k.conname), coalesce(c.path, k.contypid::regtype::text), ARRAY[
    'definition', pg_get_constraintdef(k.oid),
    'inherited', CASE WHEN NOT k.conislocal THEN 'yes' END,
    'triggers', CASE WHEN off.tgconstraint IS NOT NULL THEN 'not as usual: ' || off.states END,
    'comment', d.description],
    NULL, NULL, NULL, k.oid::bigint
FROM pg_constraint k JOIN own ON own.oid = k.connamespace
LEFT JOIN relation c ON c.oid = k.conrelid
LEFT JOIN (SELECT tgconstraint, string_agg(DISTINCT tgenabled::text, '') AS states FROM pg_trigger
    WHERE tgisinternal AND tgenabled <> 'O' GROUP BY 1) off ON off.tgconstraint = k.oid
LEFT JOIN pg_description d ON d.classoid = 'pg_constraint'::regclass AND d.objoid = k.oid AND d.objsubid = 0
WHERE k.contype <> 't' AND (k.contype <> 'n' OR NOT k.convalidated)
AND (c.oid IS NOT NULL OR k.conrelid = 0)
AND NOT EXISTS (SELECT FROM member m WHERE m.classid = 'pg_type'::regclass AND m.objid = k.contypid)

UNION ALL
SELECT 'index', c.path, t.path, ARRAY[
    'definition', pg_get_indexdef(c.oid),
    'valid', CASE WHEN NOT i.indisvalid THEN 'no' END,
    'ready', CASE WHEN NOT i.indisready THEN 'no' END,
    'clustered on', CASE WHEN i.indisclustered THEN 'yes' END,
    'replica identity', CASE WHEN i.indisreplident THEN 'yes' END,
    'tablespace', s.spcname::text,
    'partition of', CASE WHEN c.relispartition THEN
        (SELECT h.inhparent::regclass::text FROM pg_inherits h WHERE h.inhrelid = c.oid) END,
    'statistics targets', targets.line,
    'comment', d.description],
    NULL, NULL, NULL, c.oid::bigint
FROM relation c JOIN pg_index i ON i.indexrelid = c.oid JOIN relation t ON t.oid = i.indrelid
LEFT JOIN (SELECT attrelid, string_agg(attnum || '=' || attstattarget, ', ' ORDER BY attnum) AS line
    FROM pg_attribute WHERE attstattarget >= 0 AND attnum > 0 GROUP BY 1) targets ON targets.attrelid = c.oid
LEFT JOIN pg_tablespace s ON s.oid = c.reltablespace
LEFT JOIN pg_description d ON d.classoid = 'pg_class'::regclass AND d.objoid = c.oid AND d.objsubid = 0

UNION ALL
-- A sequence that belongs to a column is owned by the table's owner, always.
SELECT 'sequence', c.path, NULL, ARRAY[
    'type', format_type(q.seqtypid, NULL),
    'start', nullif(q.seqstart, 1)::text,
    'increment', nullif(q.seqincrement, 1)::text,
    'minimum', nullif(q.seqmin, 1)::text,
    'maximum', nullif(q.seqmax, CASE q.seqtypid WHEN 'int2'::regtype THEN 32767 WHEN 'int4'::regtype THEN 2147483647
        ELSE 9223372036854775807 END)::text,
    'cache', nullif(q.seqcache, 1)::text,
    'cycle', CASE WHEN q.seqcycle THEN 'yes' END,
    'persistence', CASE c.relpersistence WHEN 'u' THEN 'unlogged' END,
    'belongs to', column_of.path,
    'comment', d.description],
    CASE WHEN column_of.path IS NULL THEN pg_get_userbyid(c.relowner)::text END,
    CASE WHEN c.relacl IS NOT NULL THEN nullif(
        coalesce((SELECT string_agg(x::text, ', ' ORDER BY x::text COLLATE "C") FROM unnest(c.relacl) x), 'nobody'),
        (SELECT string_agg(x::text, ', ' ORDER BY x::text COLLATE "C") FROM unnest(acldefault('s', c.relowner)) x)) END,
    NULL, c.oid::bigint
FROM relation c JOIN pg_sequence q ON q.seqrelid = c.oid
LEFT JOIN (SELECT p.objid, format('%s.%I', p.refobjid::regclass, a.attname) AS path FROM pg_depend p
    JOIN pg_attribute a ON a.attrelid = p.refobjid AND a.attnum = p.refobjsubid
    WHERE p.classid = 'pg_class'::regclass AND p.refclassid = 'pg_class'::regclass AND p.deptype IN ('a', 'i')
    AND p.refobjsubid > 0 AND p.objsubid = 0) column_of ON column_of.objid = c.oid
LEFT JOIN pg_description d ON d.classoid = 'pg_class'::regclass AND d.objoid = c.oid AND d.objsubid = 0

SELECT jsonb_build_object(
  'oid', c.oid::bigint, 'name', format('%I.%I', n.nspname, c.relname), 'partitioned', c.relkind = 'p',
  'hidden', CASE WHEN c.relkind = 'f' THEN 'foreign' WHEN c.relpersistence = 'u' THEN 'unlogged'
    WHEN NOT has_table_privilege(c.oid, 'SELECT') THEN 'not readable by this role'
    WHEN row_security_active(c.oid) THEN 'under row level security' END,
  'columns', coalesce((SELECT jsonb_agg(jsonb_build_object(
      'number', a.attnum, 'name', a.attname, 'type', a.atttypid::bigint, 'data_type', format_type(a.atttypid, a.atttypmod),
      'modifier', a.atttypmod, 'required', a.attnotnull, 'generated', a.attgenerated <> '', 'always', a.attidentity = 'a',
      'stamp', a.atttypid IN ('timestamptz'::regtype, 'timestamp'::regtype, 'date'::regtype) AND EXISTS (
        SELECT FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid WHERE t.tgrelid = c.oid AND NOT t.tgisinternal
        AND t.tgtype & 16 <> 0 AND position(a.attname IN p.prosrc) > 0)) ORDER BY a.attnum)
    FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped), '[]'),
  'key', coalesce((SELECT to_jsonb((i.indkey::int2[])[0:i.indnkeyatts - 1]) FROM pg_index i
    WHERE i.indrelid = c.oid AND i.indisunique AND i.indisvalid AND i.indpred IS NULL AND i.indexprs IS NULL
    AND NOT EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum = ANY (i.indkey::int2[]) AND NOT a.attnotnull)
    ORDER BY i.indisprimary DESC, i.indnkeyatts, i.indexrelid LIMIT 1), '[]'),
  'indexed', coalesce((SELECT jsonb_agg(DISTINCT k) FROM pg_index i, unnest(i.indkey::int2[]) k
    WHERE i.indrelid = c.oid AND (i.indisunique OR i.indisexclusion)), '[]'),
  'opaque', EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indisunique AND i.indexprs IS NOT NULL),
  'checks', coalesce((SELECT jsonb_agg(jsonb_build_object('name', k.conname, 'columns', to_jsonb(k.conkey),
      'text', pg_get_constraintdef(k.oid))) FROM pg_constraint k WHERE k.conrelid = c.oid AND k.contype = 'c'), '[]'),
  'references', coalesce((SELECT jsonb_agg(jsonb_build_object('table', k.confrelid::bigint,
      'name', format('%I.%I', pn.nspname, p.relname), 'columns', to_jsonb(k.conkey), 'keys',
      (SELECT jsonb_agg(a.attname ORDER BY u.o) FROM unnest(k.confkey) WITH ORDINALITY u (n, o)
        JOIN pg_attribute a ON a.attrelid = k.confrelid AND a.attnum = u.n)) ORDER BY k.oid)
    FROM pg_constraint k JOIN pg_class p ON p.oid = k.confrelid JOIN pg_namespace pn ON pn.oid = p.relnamespace
    WHERE k.conrelid = c.oid AND k.contype = 'f'
    AND k.conparentid = 0), '[]'),
  'bounds', CASE WHEN c.relkind = 'p' THEN coalesce((SELECT jsonb_agg(pg_get_expr(b.relpartbound, b.oid))
    FROM pg_partition_tree(c.oid) t JOIN pg_class b ON b.oid = t.relid WHERE t.parentrelid IS NOT NULL), '[]') ELSE '[]' END,
  'routed', CASE WHEN c.relkind = 'p' THEN coalesce((SELECT jsonb_agg(DISTINCT a.attname) FROM pg_partition_tree(c.oid) t
    JOIN pg_partitioned_table p ON p.partrelid = t.relid JOIN pg_attribute a ON a.attrelid = t.relid
    AND a.attnum = ANY (p.partattrs::int2[])), '[]') ELSE '[]' END
)::text AS shape
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'f') AND NOT c.relispartition AND c.relpersistence <> 't'
AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'llmhub') AND n.nspname !~ '^pg_(toast|temp)'
AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
ORDER BY c.oid

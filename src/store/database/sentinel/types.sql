SELECT jsonb_build_object('oid', t.oid::bigint, 'name', t.typname, 'kind', t.typtype, 'shown', format_type(t.oid, NULL),
  'element', CASE WHEN t.typcategory = 'A' THEN t.typelem::bigint ELSE 0 END, 'base', t.typbasetype::bigint,
  'modifier', t.typtypmod,
  'labels', coalesce((SELECT jsonb_agg(e.enumlabel ORDER BY e.enumsortorder) FROM pg_enum e WHERE e.enumtypid = t.oid), '[]'),
  'subtype', coalesce((SELECT r.rngsubtype::bigint FROM pg_range r WHERE r.rngtypid = t.oid), 0),
  'fields', CASE WHEN t.typtype = 'c' THEN coalesce((SELECT jsonb_agg(a.atttypid::bigint ORDER BY a.attnum) FROM pg_attribute a
    WHERE a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped), '[]') ELSE '[]' END,
  'checks', coalesce((SELECT jsonb_agg(pg_get_constraintdef(k.oid)) FROM pg_constraint k WHERE k.contypid = t.oid), '[]')
)::text AS shape
FROM pg_type t WHERE t.typtype <> 'p' AND (t.typtype <> 'c' OR EXISTS (
  SELECT FROM pg_class c WHERE c.oid = t.typrelid AND c.relkind = 'c'))
AND (t.typnamespace <> 'pg_catalog'::regnamespace OR t.oid IN (SELECT a.atttypid FROM pg_attribute a WHERE a.attrelid >= 16384)
  OR t.typtype = 'b' AND t.typelem = 0)

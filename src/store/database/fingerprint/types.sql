-- What values are made of: types, casts, operators, collations, text search. Rows as in relations.sql.
WITH own AS MATERIALIZED (
    SELECT n.oid, n.nspname FROM pg_namespace n
    WHERE n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', 'llmhub')
), member AS MATERIALIZED (
    SELECT classid, objid FROM pg_depend WHERE deptype = 'e'
)
-- Row types, array types and multiranges come and go with what they belong to.
SELECT CASE t.typtype WHEN 'e' THEN 'enum' WHEN 'd' THEN 'domain' WHEN 'r' THEN 'range' ELSE 'type' END AS kind,
    format('%I.%I', own.nspname, t.typname) AS name, NULL AS of, ARRAY[
    'labels', CASE WHEN t.typtype = 'e' THEN
        (SELECT string_agg(quote_literal(e.enumlabel), ', ' ORDER BY e.enumsortorder) FROM pg_enum e WHERE e.enumtypid = t.oid) END,
    'attributes', CASE WHEN t.typtype = 'c' THEN
        (SELECT string_agg(concat_ws(' ', quote_ident(a.attname), format_type(a.atttypid, a.atttypmod),
            'collate ' || nullif(a.attcollation, y.typcollation)::regcollation), ', ' ORDER BY a.attnum)
        FROM pg_attribute a JOIN pg_type y ON y.oid = a.atttypid
        WHERE a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped) END,
    'base type', CASE WHEN t.typtype = 'd' THEN format_type(t.typbasetype, t.typtypmod) END,
    'not null', CASE WHEN t.typtype = 'd' AND t.typnotnull THEN 'yes' END,
    'default', t.typdefault,
    'collation', CASE WHEN t.typtype = 'd' AND t.typcollation <> base.typcollation THEN t.typcollation::regcollation::text END,
    'range', CASE WHEN t.typtype = 'r' THEN concat_ws(' ', r.rngsubtype::regtype, (SELECT o.opcname FROM pg_opclass o WHERE o.oid = r.rngsubopc),
        nullif(r.rngcollation, 0)::regcollation, r.rngcanonical, r.rngsubdiff) END,
    'multirange', nullif(r.rngmultitypid, 0)::regtype::text, -- from 14
    'attribute comments', CASE WHEN t.typtype = 'c' THEN
        (SELECT string_agg(format('%I: %s', a.attname, quote_literal(x.description)), ', ' ORDER BY a.attnum)
        FROM pg_description x JOIN pg_attribute a ON a.attrelid = x.objoid AND a.attnum = x.objsubid
        WHERE x.classoid = 'pg_class'::regclass AND x.objoid = t.typrelid AND x.objsubid > 0) END,
    'subscript', CASE WHEN t.typtype = 'b' THEN nullif(t.typsubscript, 0)::text END, -- from 14
    'functions', CASE WHEN t.typtype = 'b' THEN concat_ws(' ', t.typinput, t.typoutput, t.typreceive, t.typsend,
        t.typmodin, t.typmodout, t.typanalyze) END,
    'layout', CASE WHEN t.typtype = 'b' THEN concat_ws(' ', t.typlen, t.typbyval, t.typalign, t.typstorage, t.typcategory,
        t.typispreferred, t.typdelim, nullif(t.typelem, 0)::regtype) END,
    'comment', d.description] AS facts,
    pg_get_userbyid(t.typowner)::text AS owner,
    CASE WHEN t.typacl IS NOT NULL THEN nullif(
        coalesce((SELECT string_agg(x::text, ', ' ORDER BY x::text COLLATE "C") FROM unnest(t.typacl) x), 'nobody'),
        (SELECT string_agg(x::text, ', ' ORDER BY x::text COLLATE "C") FROM unnest(acldefault('T', t.typowner)) x)) END AS acl,
    NULL::int AS place, t.oid::bigint AS oid
FROM pg_type t JOIN own ON own.oid = t.typnamespace
LEFT JOIN pg_type base ON base.oid = t.typbasetype
LEFT JOIN pg_range r ON r.rngtypid = t.oid
LEFT JOIN pg_description d ON d.classoid = 'pg_type'::regclass AND d.objoid = t.oid AND d.objsubid = 0
WHERE t.typtype IN ('b', 'c', 'd', 'e', 'r', 'p')
AND (t.typtype <> 'c' OR EXISTS (SELECT FROM pg_class c WHERE c.oid = t.typrelid AND c.relkind = 'c'))
AND (t.typtype <> 'b' OR NOT EXISTS (SELECT FROM pg_type y WHERE y.typarray = t.oid))
AND NOT EXISTS (SELECT FROM member m WHERE m.classid = 'pg_type'::regclass AND m.objid = t.oid)

UNION ALL
-- Every cast of the server itself has an oid below 16384.
SELECT 'cast', format('(%s AS %s)', k.castsource::regtype, k.casttarget::regtype), NULL, ARRAY[
    'function', nullif(k.castfunc, 0)::regprocedure::text,
    'context', CASE k.castcontext WHEN 'i' THEN 'implicit' WHEN 'a' THEN 'assignment' ELSE 'explicit' END,
    'method', CASE k.castmethod WHEN 'f' THEN 'function' WHEN 'i' THEN 'inout' ELSE 'binary' END,
    'comment', d.description], NULL, NULL, NULL, k.oid::bigint
FROM pg_cast k
LEFT JOIN pg_description d ON d.classoid = 'pg_cast'::regclass AND d.objoid = k.oid AND d.objsubid = 0
WHERE k.oid >= 16384 AND NOT EXISTS (SELECT FROM member m WHERE m.classid = 'pg_cast'::regclass AND m.objid = k.oid)

UNION ALL
SELECT 'operator', o.oid::regoperator::text, NULL, ARRAY[
    'function', o.oprcode::regprocedure::text,
    'commutator', nullif(o.oprcom, 0)::regoperator::text,
    'negator', nullif(o.oprnegate, 0)::regoperator::text,
    'estimators', nullif(concat_ws(' ', nullif(o.oprrest, 0), nullif(o.oprjoin, 0)), ''),
    'joins', nullif(concat_ws(' ', CASE WHEN o.oprcanmerge THEN 'merges' END, CASE WHEN o.oprcanhash THEN 'hashes' END), ''),
    'comment', d.description], pg_get_userbyid(o.oprowner)::text, NULL, NULL, o.oid::bigint
FROM pg_operator o JOIN own ON own.oid = o.oprnamespace
LEFT JOIN pg_description d ON d.classoid = 'pg_operator'::regclass AND d.objoid = o.oid AND d.objsubid = 0
WHERE o.oprcode <> 0
AND NOT EXISTS (SELECT FROM member m WHERE m.classid = 'pg_operator'::regclass AND m.objid = o.oid)

UNION ALL
SELECT 'operator_class', format('%I.%I USING %I', own.nspname, o.opcname, am.amname), NULL, ARRAY[
    'type', o.opcintype::regtype::text,
    'default', CASE WHEN o.opcdefault THEN 'yes' END,
    'stored type', nullif(o.opckeytype, 0)::regtype::text,
    'family', format('%I.%I', fn.nspname, f.opfname),
    'comment', d.description], pg_get_userbyid(o.opcowner)::text, NULL, NULL, o.oid::bigint
FROM pg_opclass o JOIN own ON own.oid = o.opcnamespace JOIN pg_am am ON am.oid = o.opcmethod
JOIN pg_opfamily f ON f.oid = o.opcfamily JOIN pg_namespace fn ON fn.oid = f.opfnamespace
LEFT JOIN pg_description d ON d.classoid = 'pg_opclass'::regclass AND d.objoid = o.oid AND d.objsubid = 0
WHERE NOT EXISTS (SELECT FROM member m WHERE m.classid = 'pg_opclass'::regclass AND m.objid = o.oid)

UNION ALL
SELECT 'operator_family', format('%I.%I USING %I', own.nspname, f.opfname, am.amname), NULL, ARRAY[
    'operators', (SELECT string_agg(concat_ws(' ', o.amopstrategy, o.amopopr::regoperator, o.amoppurpose), ', '
        ORDER BY o.amoplefttype::regtype::text COLLATE "C", o.amoprighttype::regtype::text COLLATE "C", o.amopstrategy)
        FROM pg_amop o WHERE o.amopfamily = f.oid),
    'functions', (SELECT string_agg(concat_ws(' ', p.amprocnum, p.amproc::regprocedure), ', '
        ORDER BY p.amproclefttype::regtype::text COLLATE "C", p.amprocrighttype::regtype::text COLLATE "C", p.amprocnum)
        FROM pg_amproc p WHERE p.amprocfamily = f.oid),
    'comment', d.description], pg_get_userbyid(f.opfowner)::text, NULL, NULL, f.oid::bigint
FROM pg_opfamily f JOIN own ON own.oid = f.opfnamespace JOIN pg_am am ON am.oid = f.opfmethod
LEFT JOIN pg_description d ON d.classoid = 'pg_opfamily'::regclass AND d.objoid = f.oid AND d.objsubid = 0
WHERE NOT EXISTS (SELECT FROM member m WHERE m.classid = 'pg_opfamily'::regclass AND m.objid = f.oid)

UNION ALL
SELECT 'collation', format('%I.%I', own.nspname, k.collname), NULL, ARRAY[
    'provider', CASE k.collprovider WHEN 'c' THEN 'libc' WHEN 'i' THEN 'icu' WHEN 'b' THEN 'builtin' ELSE 'default' END,
    'locale', concat_ws(' ', k.collcollate, k.collctype,
        k.colliculocale, -- from 15 before 17
        k.colllocale, -- from 17
        k.collicurules, -- from 16
        ''),
    'deterministic', CASE WHEN NOT k.collisdeterministic THEN 'no' END,
    'version', k.collversion,
    'comment', d.description], pg_get_userbyid(k.collowner)::text, NULL, NULL, k.oid::bigint
FROM pg_collation k JOIN own ON own.oid = k.collnamespace
LEFT JOIN pg_description d ON d.classoid = 'pg_collation'::regclass AND d.objoid = k.oid AND d.objsubid = 0
WHERE NOT EXISTS (SELECT FROM member m WHERE m.classid = 'pg_collation'::regclass AND m.objid = k.oid)

UNION ALL
SELECT 'text_search_configuration', format('%I.%I', own.nspname, f.cfgname), NULL, ARRAY[
    'parser', (SELECT p.prsname::text FROM pg_ts_parser p WHERE p.oid = f.cfgparser),
    'dictionaries', (SELECT string_agg(concat_ws(' ', x.maptokentype, x.mapseqno, x.mapdict::regdictionary), ', '
        ORDER BY x.maptokentype, x.mapseqno) FROM pg_ts_config_map x WHERE x.mapcfg = f.oid),
    'comment', d.description], pg_get_userbyid(f.cfgowner)::text, NULL, NULL, f.oid::bigint
FROM pg_ts_config f JOIN own ON own.oid = f.cfgnamespace
LEFT JOIN pg_description d ON d.classoid = 'pg_ts_config'::regclass AND d.objoid = f.oid AND d.objsubid = 0
WHERE NOT EXISTS (SELECT FROM member m WHERE m.classid = 'pg_ts_config'::regclass AND m.objid = f.oid)

UNION ALL
SELECT 'text_search_dictionary', format('%I.%I', own.nspname, f.dictname), NULL, ARRAY[
    'template', (SELECT t.tmplname::text FROM pg_ts_template t WHERE t.oid = f.dicttemplate),
    'options', f.dictinitoption,
    'comment', d.description], pg_get_userbyid(f.dictowner)::text, NULL, NULL, f.oid::bigint
FROM pg_ts_dict f JOIN own ON own.oid = f.dictnamespace
LEFT JOIN pg_description d ON d.classoid = 'pg_ts_dict'::regclass AND d.objoid = f.oid AND d.objsubid = 0
WHERE NOT EXISTS (SELECT FROM member m WHERE m.classid = 'pg_ts_dict'::regclass AND m.objid = f.oid)

UNION ALL
SELECT 'text_search_parser', format('%I.%I', own.nspname, f.prsname), NULL, ARRAY[
    'functions', concat_ws(' ', f.prsstart, f.prstoken, f.prsend, f.prsheadline, f.prslextype),
    'comment', d.description], NULL, NULL, NULL, f.oid::bigint
FROM pg_ts_parser f JOIN own ON own.oid = f.prsnamespace
LEFT JOIN pg_description d ON d.classoid = 'pg_ts_parser'::regclass AND d.objoid = f.oid AND d.objsubid = 0
WHERE NOT EXISTS (SELECT FROM member m WHERE m.classid = 'pg_ts_parser'::regclass AND m.objid = f.oid)

UNION ALL
SELECT 'text_search_template', format('%I.%I', own.nspname, f.tmplname), NULL, ARRAY[
    'functions', concat_ws(' ', f.tmplinit, f.tmpllexize),
    'comment', d.description], NULL, NULL, NULL, f.oid::bigint
FROM pg_ts_template f JOIN own ON own.oid = f.tmplnamespace
LEFT JOIN pg_description d ON d.classoid = 'pg_ts_template'::regclass AND d.objoid = f.oid AND d.objsubid = 0
WHERE NOT EXISTS (SELECT FROM member m WHERE m.classid = 'pg_ts_template'::regclass AND m.objid = f.oid)

UNION ALL
SELECT 'conversion', format('%I.%I', own.nspname, k.conname), NULL, ARRAY[
    'from', pg_encoding_to_char(k.conforencoding)::text, 'to', pg_encoding_to_char(k.contoencoding)::text,
    'function', k.conproc::regproc::text, 'default', CASE WHEN k.condefault THEN 'yes' END,
    'comment', d.description], pg_get_userbyid(k.conowner)::text, NULL, NULL, k.oid::bigint
FROM pg_conversion k JOIN own ON own.oid = k.connamespace
LEFT JOIN pg_description d ON d.classoid = 'pg_conversion'::regclass AND d.objoid = k.oid AND d.objsubid = 0
WHERE NOT EXISTS (SELECT FROM member m WHERE m.classid = 'pg_conversion'::regclass AND m.objid = k.oid)

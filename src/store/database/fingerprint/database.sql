-- What belongs to the database as a whole: extensions, languages, default privileges, publications, statistics objects, foreign
-- servers, settings. Rows as in relations.sql. A setting with a dotted name and an option that sounds like a secret may hold one:
-- their values are told apart by a hash. What only a superuser may read of subscriptions and user
-- mappings is left out.
WITH own AS MATERIALIZED (
    SELECT n.oid, n.nspname FROM pg_namespace n
    WHERE n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', 'llmhub')
), member AS MATERIALIZED (
    SELECT classid, objid FROM pg_depend WHERE deptype = 'e'
)
SELECT 'database' AS kind, 'itself' AS name, NULL AS of, ARRAY[
    'encoding', pg_encoding_to_char(b.encoding)::text,
    'collation', b.datcollate::text,
    'character types', b.datctype::text,
    'collation version', b.datcollversion, -- from 15
    'provider', b.datlocprovider::text, -- from 15
    'locale', b.daticulocale, -- from 15 before 17
    'locale', b.datlocale, -- from 17
    'collation rules', b.daticurules, -- from 16
    'connection limit', nullif(b.datconnlimit, -1)::text,
    'template', CASE WHEN b.datistemplate THEN 'yes' END,
    'tablespace', nullif((SELECT s.spcname::text FROM pg_tablespace s WHERE s.oid = b.dattablespace), 'pg_default'),
    'comment', shobj_description(b.oid, 'pg_database')] AS facts,
    pg_get_userbyid(b.datdba)::text AS owner,
    CASE WHEN b.datacl IS NOT NULL THEN nullif(
        coalesce((SELECT string_agg(x::text, ', ' ORDER BY x::text COLLATE "C") FROM unnest(b.datacl) x), 'nobody'),
        (SELECT string_agg(x::text, ', ' ORDER BY x::text COLLATE "C") FROM unnest(acldefault('d', b.datdba)) x)) END AS acl,
    NULL::int AS place, b.oid::bigint AS oid
FROM pg_database b WHERE b.datname = current_database()

UNION ALL
SELECT 'setting', coalesce(quote_ident(r.rolname) || '.', '') || split_part(x.line, '=', 1), NULL, ARRAY['value',
    CASE WHEN position('.' IN split_part(x.line, '=', 1)) > 0
        THEN 'hidden, sha256 ' || left(encode(sha256(convert_to(x.line, 'UTF8')), 'hex'), 16)
        ELSE substr(x.line, position('=' IN x.line) + 1) END,
    'role', r.rolname::text],
    NULL, NULL, NULL, 0
FROM pg_db_role_setting s JOIN pg_database b ON b.oid = s.setdatabase AND b.datname = current_database()
LEFT JOIN pg_roles r ON r.oid = s.setrole CROSS JOIN LATERAL unnest(s.setconfig) x (line)

UNION ALL
SELECT 'extension', format('%I', e.extname), NULL, ARRAY[
    'version', e.extversion, 'schema', n.nspname::text, 'comment', d.description],
    pg_get_userbyid(e.extowner)::text, NULL, NULL, e.oid::bigint
FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace
LEFT JOIN pg_description d ON d.classoid = 'pg_extension'::regclass AND d.objoid = e.oid AND d.objsubid = 0

UNION ALL
SELECT 'language', format('%I', l.lanname), NULL, ARRAY[
    'handler', nullif(l.lanplcallfoid, 0)::regprocedure::text,
    'inline', nullif(l.laninline, 0)::regprocedure::text,
    'validator', nullif(l.lanvalidator, 0)::regprocedure::text,
    'trusted', CASE WHEN l.lanpltrusted THEN 'yes' END,
    'comment', obj_description(l.oid, 'pg_language')],
    pg_get_userbyid(l.lanowner)::text,
    CASE WHEN l.lanacl IS NOT NULL THEN nullif(
        coalesce((SELECT string_agg(x::text, ', ' ORDER BY x::text COLLATE "C") FROM unnest(l.lanacl) x), 'nobody'),
        (SELECT string_agg(x::text, ', ' ORDER BY x::text COLLATE "C") FROM unnest(acldefault('l', l.lanowner)) x)) END,
    NULL, l.oid::bigint
FROM pg_language l WHERE l.oid >= 16384
AND NOT EXISTS (SELECT FROM member m WHERE m.classid = 'pg_language'::regclass AND m.objid = l.oid)

UNION ALL
SELECT 'default_privileges', format('for %I%s on %s', pg_get_userbyid(a.defaclrole), coalesce(' in ' || quote_ident(n.nspname), ''),
    CASE a.defaclobjtype WHEN 'r' THEN 'tables' WHEN 'S' THEN 'sequences' WHEN 'f' THEN 'functions' WHEN 'T' THEN 'types'
        WHEN 'n' THEN 'schemas' ELSE a.defaclobjtype::text END), NULL, '{}'::text[], NULL,
    coalesce((SELECT string_agg(x::text, ', ' ORDER BY x::text COLLATE "C") FROM unnest(a.defaclacl) x), 'nobody'), NULL, a.oid::bigint
FROM pg_default_acl a LEFT JOIN pg_namespace n ON n.oid = a.defaclnamespace
WHERE n.nspname IS DISTINCT FROM 'llmhub'

UNION ALL
SELECT 'publication', format('%I', p.pubname), NULL, ARRAY[
    'all tables', CASE WHEN p.puballtables THEN 'yes' END,
    'publishes', concat_ws(', ', CASE WHEN p.pubinsert THEN 'insert' END, CASE WHEN p.pubupdate THEN 'update' END,
        CASE WHEN p.pubdelete THEN 'delete' END, CASE WHEN p.pubtruncate THEN 'truncate' END),
    'generated columns', nullif(p.pubgencols::text, 'n'), -- from 18
    'via root', CASE WHEN p.pubviaroot THEN 'yes' END,
    -- As ALTER PUBLICATION … SET TABLE reads them.
    'tables', (SELECT string_agg(concat_ws(' ', t.prrelid::regclass,
        '(' || (SELECT string_agg(quote_ident(a.attname), ', ' ORDER BY a.attnum) FROM pg_attribute a -- from 15
            WHERE a.attrelid = t.prrelid AND a.attnum = ANY (t.prattrs)) || ')', -- from 15
        'WHERE ' || pg_get_expr(t.prqual, t.prrelid), -- from 15
        NULL), ', ' ORDER BY t.prrelid::regclass::text COLLATE "C") FROM pg_publication_rel t WHERE t.prpubid = p.oid),
    'schemas', (SELECT string_agg(t.pnnspid::regnamespace::text, ', ' ORDER BY t.pnnspid::regnamespace::text COLLATE "C") -- from 15
        FROM pg_publication_namespace t WHERE t.pnpubid = p.oid), -- from 15
    'comment', d.description],
    pg_get_userbyid(p.pubowner)::text, NULL, NULL, p.oid::bigint
FROM pg_publication p
LEFT JOIN pg_description d ON d.classoid = 'pg_publication'::regclass AND d.objoid = p.oid AND d.objsubid = 0

UNION ALL
SELECT 'statistics', format('%I.%I', own.nspname, s.stxname), NULL, ARRAY[
    'definition', pg_get_statisticsobjdef(s.oid),
    'target', nullif(s.stxstattarget, -1)::text,
    'comment', d.description],
    pg_get_userbyid(s.stxowner)::text, NULL, NULL, s.oid::bigint
FROM pg_statistic_ext s JOIN own ON own.oid = s.stxnamespace
LEFT JOIN pg_description d ON d.classoid = 'pg_statistic_ext'::regclass AND d.objoid = s.oid AND d.objsubid = 0

UNION ALL
SELECT 'foreign_data_wrapper', format('%I', w.fdwname), NULL, ARRAY[
    'handler', nullif(w.fdwhandler, 0)::regprocedure::text,
    'validator', nullif(w.fdwvalidator, 0)::regprocedure::text,
    'options', (SELECT string_agg(CASE WHEN x ~* '^[^=]*(pass|secret|key|token)'
        THEN split_part(x, '=', 1) || '=hidden, sha256 ' || left(encode(sha256(convert_to(x, 'UTF8')), 'hex'), 16)
        ELSE x END, ', ' ORDER BY x COLLATE "C") FROM unnest(w.fdwoptions) x),
    'comment', d.description],
    pg_get_userbyid(w.fdwowner)::text,
    CASE WHEN w.fdwacl IS NOT NULL THEN nullif(
        coalesce((SELECT string_agg(x::text, ', ' ORDER BY x::text COLLATE "C") FROM unnest(w.fdwacl) x), 'nobody'),
        (SELECT string_agg(x::text, ', ' ORDER BY x::text COLLATE "C") FROM unnest(acldefault('F', w.fdwowner)) x)) END, NULL, w.oid::bigint
FROM pg_foreign_data_wrapper w
LEFT JOIN pg_description d ON d.classoid = 'pg_foreign_data_wrapper'::regclass AND d.objoid = w.oid AND d.objsubid = 0
WHERE NOT EXISTS (SELECT FROM member m WHERE m.classid = 'pg_foreign_data_wrapper'::regclass AND m.objid = w.oid)

UNION ALL
SELECT 'server', format('%I', s.srvname), NULL, ARRAY[
    'wrapper', w.fdwname::text, 'type', s.srvtype, 'version', s.srvversion,
    'options', (SELECT string_agg(CASE WHEN x ~* '^[^=]*(pass|secret|key|token)'
        THEN split_part(x, '=', 1) || '=hidden, sha256 ' || left(encode(sha256(convert_to(x, 'UTF8')), 'hex'), 16)
        ELSE x END, ', ' ORDER BY x COLLATE "C") FROM unnest(s.srvoptions) x),
    'comment', d.description],
    pg_get_userbyid(s.srvowner)::text,
    CASE WHEN s.srvacl IS NOT NULL THEN nullif(
        coalesce((SELECT string_agg(x::text, ', ' ORDER BY x::text COLLATE "C") FROM unnest(s.srvacl) x), 'nobody'),
        (SELECT string_agg(x::text, ', ' ORDER BY x::text COLLATE "C") FROM unnest(acldefault('S', s.srvowner)) x)) END, NULL, s.oid::bigint
FROM pg_foreign_server s JOIN pg_foreign_data_wrapper w ON w.oid = s.srvfdw
LEFT JOIN pg_description d ON d.classoid = 'pg_foreign_server'::regclass AND d.objoid = s.oid AND d.objsubid = 0
WHERE NOT EXISTS (SELECT FROM member m WHERE m.classid = 'pg_foreign_server'::regclass AND m.objid = s.oid)

UNION ALL
-- Their options are for their owners only, and hold passwords.
SELECT 'user_mapping', format('%s SERVER %I', CASE u.umuser WHEN 0 THEN 'PUBLIC' ELSE quote_ident(u.usename) END, u.srvname),
    NULL, '{}'::text[], NULL, NULL, NULL, u.umid::bigint
FROM pg_user_mappings u

UNION ALL
-- Where it connects to is for superusers only.
SELECT 'subscription', format('%I', s.subname), NULL, ARRAY[
    'enabled', CASE WHEN NOT s.subenabled THEN 'no' END,
    'publications', (SELECT string_agg(quote_ident(x), ', ' ORDER BY x COLLATE "C") FROM unnest(s.subpublications) x),
    'slot', s.subslotname::text, 'synchronous commit', nullif(s.subsynccommit, 'off'),
    'comment', obj_description(s.oid, 'pg_subscription')],
    pg_get_userbyid(s.subowner)::text, NULL, NULL, s.oid::bigint
FROM pg_subscription s JOIN pg_database b ON b.oid = s.subdbid AND b.datname = current_database()

UNION ALL
SELECT 'transform', format('FOR %s LANGUAGE %I', t.trftype::regtype, l.lanname), NULL, ARRAY[
    'from sql', nullif(t.trffromsql, 0)::regprocedure::text, 'to sql', nullif(t.trftosql, 0)::regprocedure::text,
    'comment', obj_description(t.oid, 'pg_transform')], NULL, NULL, NULL, t.oid::bigint
FROM pg_transform t JOIN pg_language l ON l.oid = t.trflang
WHERE NOT EXISTS (SELECT FROM member m WHERE m.classid = 'pg_transform'::regclass AND m.objid = t.oid)

UNION ALL
SELECT 'access_method', format('%I', a.amname), NULL, ARRAY[
    'type', CASE a.amtype WHEN 't' THEN 'table' ELSE 'index' END, 'handler', a.amhandler::regproc::text,
    'comment', obj_description(a.oid, 'pg_am')], NULL, NULL, NULL, a.oid::bigint
FROM pg_am a WHERE a.oid >= 16384
AND NOT EXISTS (SELECT FROM member m WHERE m.classid = 'pg_am'::regclass AND m.objid = a.oid)

UNION ALL
SELECT 'security_label', format('%s on %s %s', s.provider, i.type, i.identity), NULL, ARRAY['label', s.label],
    NULL, NULL, NULL, 0
FROM pg_seclabel s CROSS JOIN LATERAL pg_identify_object(s.classoid, s.objoid, s.objsubid) i
WHERE i.identity !~ '^llmhub[.]'

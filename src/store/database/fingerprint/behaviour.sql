-- What acts by itself: functions, aggregates, triggers, event triggers, rules, policies. Rows as in relations.sql.
WITH own AS MATERIALIZED (
    SELECT n.oid, n.nspname FROM pg_namespace n
    WHERE n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', 'llmhub')
), member AS MATERIALIZED (
    SELECT classid, objid FROM pg_depend WHERE deptype = 'e'
), relation AS MATERIALIZED (
    SELECT c.oid, format('%I.%I', own.nspname, c.relname) AS path FROM pg_class c JOIN own ON own.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f')
    AND NOT EXISTS (SELECT FROM member m WHERE m.classid = 'pg_class'::regclass AND m.objid = c.oid)
)
SELECT CASE p.prokind WHEN 'a' THEN 'aggregate' WHEN 'p' THEN 'procedure' ELSE 'function' END AS kind,
    format('%I.%I(%s)', own.nspname, p.proname, pg_get_function_identity_arguments(p.oid)) AS name, NULL AS of,
    ARRAY[
    'definition', CASE WHEN p.prokind <> 'a' THEN pg_get_functiondef(p.oid) END,
    'state', CASE WHEN g.aggfnoid IS NOT NULL THEN concat_ws(' ', g.aggtransfn, g.aggtranstype::regtype, g.aggtransspace,
        quote_nullable(g.agginitval), g.aggkind, g.aggnumdirectargs) END,
    'result', CASE WHEN g.aggfnoid IS NOT NULL THEN concat_ws(' ', pg_get_function_result(p.oid), g.aggfinalfn,
        g.aggfinalextra, g.aggfinalmodify, g.aggsortop::regoperator, 'parallel', p.proparallel) END,
    'partial', CASE WHEN g.aggfnoid IS NOT NULL THEN concat_ws(' ', g.aggcombinefn, g.aggserialfn, g.aggdeserialfn) END,
    'moving', CASE WHEN g.aggmtransfn <> 0 THEN concat_ws(' ', g.aggmtransfn, g.aggminvtransfn, g.aggmfinalfn,
        g.aggmtranstype::regtype, g.aggmtransspace, g.aggmfinalextra, g.aggmfinalmodify, quote_nullable(g.aggminitval)) END,
    'comment', d.description] AS facts,
    pg_get_userbyid(p.proowner)::text AS owner,
    CASE WHEN p.proacl IS NOT NULL THEN nullif(
        coalesce((SELECT string_agg(x::text, ', ' ORDER BY x::text COLLATE "C") FROM unnest(p.proacl) x), 'nobody'),
        (SELECT string_agg(x::text, ', ' ORDER BY x::text COLLATE "C") FROM unnest(acldefault('f', p.proowner)) x)) END AS acl,
    NULL::int AS place, p.oid::bigint AS oid
FROM pg_proc p JOIN own ON own.oid = p.pronamespace
LEFT JOIN pg_aggregate g ON g.aggfnoid = p.oid
LEFT JOIN pg_description d ON d.classoid = 'pg_proc'::regclass AND d.objoid = p.oid AND d.objsubid = 0
WHERE NOT EXISTS (SELECT FROM member m WHERE m.classid = 'pg_proc'::regclass AND m.objid = p.oid)
-- Those of a range type come and go with it.
AND NOT EXISTS (SELECT FROM pg_depend i WHERE i.classid = 'pg_proc'::regclass AND i.objid = p.oid AND i.deptype = 'i')

UNION ALL
SELECT 'trigger', format('%I', t.tgname), c.path, ARRAY[
    'definition', pg_get_triggerdef(t.oid),
    'enabled', CASE t.tgenabled WHEN 'D' THEN 'no' WHEN 'R' THEN 'on replicas' WHEN 'A' THEN 'always' END,
    'inherited', CASE WHEN t.tgparentid <> 0 THEN 'yes' END,
    'comment', d.description],
    NULL, NULL, NULL, t.oid::bigint
FROM pg_trigger t JOIN relation c ON c.oid = t.tgrelid
LEFT JOIN pg_description d ON d.classoid = 'pg_trigger'::regclass AND d.objoid = t.oid AND d.objsubid = 0
WHERE (NOT t.tgisinternal OR t.tgparentid <> 0 AND t.tgconstraint = 0)

UNION ALL
SELECT 'event_trigger', format('%I', t.evtname), NULL, ARRAY[
    'event', t.evtevent::text,
    'function', t.evtfoid::regprocedure::text,
    'tags', array_to_string(t.evttags, ', '),
    'enabled', CASE t.evtenabled WHEN 'D' THEN 'no' WHEN 'R' THEN 'on replicas' WHEN 'A' THEN 'always' END,
    'comment', d.description],
    pg_get_userbyid(t.evtowner)::text, NULL, NULL, t.oid::bigint
FROM pg_event_trigger t
LEFT JOIN pg_description d ON d.classoid = 'pg_event_trigger'::regclass AND d.objoid = t.oid AND d.objsubid = 0
WHERE NOT EXISTS (SELECT FROM member m WHERE m.classid = 'pg_event_trigger'::regclass AND m.objid = t.oid)

UNION ALL
SELECT 'rule', format('%I', r.rulename), c.path, ARRAY[
    'definition', pg_get_ruledef(r.oid),
    'enabled', CASE r.ev_enabled WHEN 'D' THEN 'no' WHEN 'R' THEN 'on replicas' WHEN 'A' THEN 'always' END,
    'comment', d.description],
    NULL, NULL, NULL, r.oid::bigint
FROM pg_rewrite r JOIN relation c ON c.oid = r.ev_class
LEFT JOIN pg_description d ON d.classoid = 'pg_rewrite'::regclass AND d.objoid = r.oid AND d.objsubid = 0
WHERE r.rulename <> '_RETURN'

UNION ALL
SELECT 'policy', format('%I', p.polname), c.path, ARRAY[
    'command', CASE p.polcmd WHEN 'r' THEN 'select' WHEN 'a' THEN 'insert' WHEN 'w' THEN 'update' WHEN 'd' THEN 'delete' ELSE 'all' END,
    'kind', CASE WHEN NOT p.polpermissive THEN 'restrictive' END,
    'roles', (SELECT string_agg(CASE x WHEN 0 THEN 'public' ELSE pg_get_userbyid(x)::text END, ', '
        ORDER BY CASE x WHEN 0 THEN 'public' ELSE pg_get_userbyid(x)::text END COLLATE "C") FROM unnest(p.polroles) x),
    'using', pg_get_expr(p.polqual, p.polrelid),
    'check', pg_get_expr(p.polwithcheck, p.polrelid),
    'comment', d.description],
    NULL, NULL, NULL, p.oid::bigint
FROM pg_policy p JOIN relation c ON c.oid = p.polrelid
LEFT JOIN pg_description d ON d.classoid = 'pg_policy'::regclass AND d.objoid = p.oid AND d.objsubid = 0

//! What belongs to a database and not to its content: encoding, owner, rights, settings, limits, comment. No dump of one
//! database holds it, so it is carried over from the database that is replaced.
//!
//! The server writes the statements itself: it knows how its names and values are quoted.

use sqlx::Row;

use crate::store::StoreError;
use crate::store::postgres::Session;

/// The statements that give the database `to` the properties of `from`, in the transaction that is open.
pub(super) async fn carried(session: &mut Session, from: &str, to: &str) -> Result<Vec<String>, StoreError> {
    let query = sqlx::query(
        "WITH d AS (SELECT * FROM pg_catalog.pg_database WHERE datname = $1), \
         s AS (SELECT place, setrole, split_part(entry, '=', 1) AS name, substr(entry, strpos(entry, '=') + 1) AS value \
           FROM pg_catalog.pg_db_role_setting r JOIN d ON d.oid = r.setdatabase, unnest(r.setconfig) WITH ORDINALITY AS listed (entry, place)), \
         v AS (SELECT place, setrole, name, CASE \
           WHEN name IN ('search_path', 'temp_tablespaces', 'local_preload_libraries', 'session_preload_libraries') \
             AND value NOT IN ('', '\"\"') THEN value \
           WHEN value = '\"\"' THEN '''''' ELSE quote_literal(value) END AS value FROM s) \
         SELECT sql FROM ( \
         SELECT 1, 1, format('ALTER DATABASE %I OWNER TO %I', $2, pg_get_userbyid(datdba)) FROM d \
         UNION ALL SELECT 2, 1, format('REVOKE ALL ON DATABASE %I FROM PUBLIC', $2) FROM d WHERE datacl IS NOT NULL \
         UNION ALL SELECT 2, 2, format('REVOKE ALL ON DATABASE %I FROM %I', $2, pg_get_userbyid(datdba)) FROM d \
           WHERE datacl IS NOT NULL \
         UNION ALL SELECT 3, a.place, format('GRANT %s ON DATABASE %I TO %s%s', a.privilege_type, $2, \
           CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END, \
           CASE WHEN a.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END) FROM d, \
           aclexplode(d.datacl) WITH ORDINALITY AS a (grantor, grantee, privilege_type, is_grantable, place) \
         UNION ALL SELECT 4, place, format('ALTER DATABASE %I SET %I TO %s', $2, name, value) FROM v WHERE setrole = 0 \
         UNION ALL SELECT 4, place, format('ALTER ROLE %I IN DATABASE %I SET %I TO %s', pg_get_userbyid(setrole), $2, name, value) \
           FROM v WHERE setrole <> 0 \
         UNION ALL SELECT 5, 1, format('COMMENT ON DATABASE %I IS %L', $2, shobj_description(oid, 'pg_database')) FROM d \
         UNION ALL SELECT 6, 1, format('ALTER DATABASE %I CONNECTION LIMIT %s', $2, datconnlimit) FROM d \
           WHERE datconnlimit <> -1 \
         UNION ALL SELECT 6, 1, format('ALTER DATABASE %I IS_TEMPLATE true', $2) FROM d WHERE datistemplate \
         ) statements (step, place, sql) ORDER BY step, place, sql",
    )
    .bind(from)
    .bind(to);
    let wrong = |_| StoreError::Invalid("the catalog has columns of another type".to_owned());
    session.rows(query).await?.iter().map(|row| row.try_get(0).map_err(wrong)).collect()
}

//! One round of the built-in questions: what every arm did in a window, read in one statement.
//!
//! Failures and latencies come from the same snapshot, so that both metrics of a round judge the same requests even while more
//! arrive. The percentile is exact: what is known of the column beforehand only says where to look for it, and is checked.

use std::time::{Duration, Instant};

use sqlx::Row;
use sqlx::postgres::PgRow;
use tokio::sync::Mutex;

use super::arms::{Counted, Kind, Listed, armed, listed};
use super::schema::Usage;
use super::{Question, whole};
use crate::domain::flags::{FlagKey, Percent};
use crate::domain::rollout::plan::Identity;
use crate::domain::rollout::reading::Window;
use crate::store::StoreError;
use crate::store::postgres::Session;

/// A round is over after this long; whoever asks again wants to hear what arrived since.
const FRESH: Duration = Duration::from_secs(5);

/// Rounds that are kept: windows and flags that one round can ask about.
const KEPT: usize = 8;

/// What is read of each arm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Depth {
    /// Requests and failures.
    Failures,
    /// Latencies too, which takes a second look at the slowest requests.
    Latencies,
}

/// Latencies that parts of the requests usually stay below, ascending; without statistics there are none.
pub(super) type Usual = [Option<i64>; 4];

/// What every arm did.
#[derive(Clone, Debug, Default)]
pub(super) struct Round {
    arms: Vec<ArmRow>,
    /// What the flag's lists say of the identity.
    pub(super) listed: Listed,
}

/// One row of the statement.
#[derive(Clone, Debug)]
struct ArmRow {
    arm: String,
    users: u64,
    requests: u64,
    failed: Option<f64>,
    newest: Option<i64>,
    timed: u64,
    p95: Option<f64>,
}

impl Round {
    /// The rows of the statement of [`sql`]; `None` when they are of another shape.
    pub(super) fn read(rows: &[PgRow]) -> Option<Self> {
        let mut round = Self::default();
        for row in rows {
            round.arms.push(ArmRow {
                arm: row.try_get(0).ok()?,
                users: whole(row, 1)?,
                requests: whole(row, 2)?,
                failed: row.try_get(3).ok()?,
                newest: row.try_get(4).ok()?,
                timed: whole(row, 5)?,
                p95: row.try_get(6).ok()?,
            });
            round.listed = Listed { by_identity: whole(row, 7)?, by_another: whole(row, 8)? };
        }
        Some(round)
    }

    /// The arms as one metric counts them: by failures among all requests, or by the percentile of those with a latency.
    pub(super) fn counted(&self, kind: Kind) -> Vec<Counted> {
        let counted = |row: &ArmRow| {
            let (requests, number) = match kind {
                Kind::Failures => (row.requests, row.failed),
                Kind::Value => (row.timed, row.p95),
            };
            Counted { arm: row.arm.clone(), users: row.users, requests, number, newest: row.newest }
        };
        self.arms.iter().map(counted).collect()
    }
}

/// Which round it is.
#[derive(Clone, Debug, PartialEq)]
struct Name {
    flag: FlagKey,
    lists: [Vec<String>; 2],
    rung: Percent,
    window: Window,
}

struct Kept {
    name: Name,
    depth: Depth,
    asked: Instant,
    round: Round,
}

/// The rounds of the last moments. One is asked for at a time: metrics that are measured together wait for the first of them.
#[derive(Default)]
pub(super) struct Rounds {
    kept: Mutex<Vec<Kept>>,
}

impl Rounds {
    /// The round of this question, from `ask` unless it is known. A failure is not kept.
    ///
    /// # Errors
    /// Those of `ask`.
    pub(super) async fn of<E>(
        &self,
        question: &Question<'_>,
        depth: Depth,
        ask: impl AsyncFnOnce() -> Result<Round, E>,
    ) -> Result<Round, E> {
        let flag = question.flag;
        let lists = [flag.white().to_vec(), flag.black().to_vec()];
        let name = Name { flag: flag.key.clone(), lists, rung: question.rung, window: question.window };
        let mut kept = self.kept.lock().await;
        kept.retain(|kept| kept.asked.elapsed() < FRESH);
        if let Some(known) = kept.iter().find(|kept| kept.name == name && kept.depth >= depth) {
            return Ok(known.round.clone());
        }
        let asked = Instant::now();
        let round = ask().await?;
        if kept.len() >= KEPT {
            kept.remove(0);
        }
        kept.push(Kept { name, depth, asked, round: round.clone() });
        Ok(round)
    }
}

/// What the server knows of the latencies without looking at them; what the role may not see is not known.
///
/// # Errors
/// When the server cannot be asked.
pub(super) async fn usual(session: &mut Session, usage: &Usage) -> Result<Usual, StoreError> {
    // How often each value occurs does not matter: the marks need not be exact. Beyond 10^15 they would not fit.
    let sql = "SELECT floor(unnest(percentile_disc(ARRAY[0.5, 0.8, 0.92, 0.97]) WITHIN GROUP (ORDER BY v)))::bigint \
               FROM (SELECT unnest(coalesce(histogram_bounds::text::float8[], most_common_vals::text::float8[])) AS v \
               FROM pg_stats WHERE schemaname = 'public' AND tablename = $1 AND attname = 'latency_ms') s \
               WHERE v BETWEEN 0 AND 1e15";
    let rows = session.rows(sqlx::query(sql).bind(usage.table())).await?;
    let mut usual = Usual::default();
    for (mark, row) in usual.iter_mut().zip(&rows) {
        *mark = row.try_get(0).ok();
    }
    Ok(usual)
}

/// The statement of a round: one row for each arm. For latencies `$7` to `$10` are the usual ones.
///
/// The first look adds up, for each user, how many requests reach each usual latency. So it is known between which two of them
/// the percentile of cohort and control lies, and the second look sorts only the requests there.
pub(super) fn sql(usage: &Usage, identity: Identity, depth: Depth) -> String {
    let (table, time, counted) = (usage.table(), usage.time(), usage.counted());
    let listed = listed(identity);
    let failed = format!(", count(*) FILTER (WHERE {}) AS failed", usage.failed());
    let newest = "(extract(epoch FROM newest) * 1000)::bigint";
    if depth == Depth::Failures {
        let armed = armed(usage, identity, &failed);
        return format!(
            "{armed}, arms AS (SELECT arm, count(*) AS users, sum(n)::bigint AS n, sum(failed)::float8 AS failed, \
             max(newest) AS newest FROM armed GROUP BY arm) \
             SELECT arm, users, n, failed, {newest}, 0::bigint, NULL::float8, {listed} FROM arms"
        );
    }
    let reach =
        |column: &str, mark: &str| format!("count(*) FILTER (WHERE l.latency_ms >= {mark}::bigint) AS {column}");
    let sums = [
        "count(l.latency_ms) AS timed".to_owned(),
        reach("r1", "$7"),
        reach("r2", "$8"),
        reach("r3", "$9"),
        reach("r4", "$10"),
    ];
    let armed = armed(usage, identity, &format!("{failed}, {}", sums.join(", ")));
    // The percentile is at or above a mark when fewer than 95 % of the requests are below it.
    let above = |column: &str| format!("timed - {column} < 0.95 * timed");
    let (a1, a2, a3, a4) = (above("r1"), above("r2"), above("r3"), above("r4"));
    format!(
        "{armed}, arms AS MATERIALIZED (SELECT arm, count(*) AS users, sum(n)::bigint AS n, sum(failed)::float8 AS failed, \
         max(newest) AS newest, sum(timed)::bigint AS timed, sum(r1)::bigint AS r1, sum(r2)::bigint AS r2, \
         sum(r3)::bigint AS r3, sum(r4)::bigint AS r4 FROM armed GROUP BY arm), \
         spans AS MATERIALIZED (SELECT arm, timed, \
         coalesce(CASE WHEN {a4} THEN $10::bigint WHEN {a3} THEN $9::bigint WHEN {a2} THEN $8::bigint \
         WHEN {a1} THEN $7::bigint END, -9223372036854775808) AS low, \
         coalesce(CASE WHEN {a4} THEN NULL WHEN {a3} THEN $10::bigint WHEN {a2} THEN $9::bigint \
         WHEN {a1} THEN $8::bigint ELSE $7::bigint END, 9223372036854775807) AS high, \
         CASE WHEN {a4} THEN 0 WHEN {a3} THEN r4 WHEN {a2} THEN r3 WHEN {a1} THEN r2 ELSE r1 END AS beyond \
         FROM arms WHERE arm IN ('cohort', 'control')), \
         spread AS (SELECT a.arm, l.latency_ms AS latency, count(*) AS n FROM {table} l JOIN armed a USING (user_id) \
         WHERE {time} >= $1 AND {time} < $2 AND {counted} AND l.latency_ms >= (SELECT min(low) FROM spans) \
         AND l.latency_ms < (SELECT max(high) FROM spans) GROUP BY l.latency_ms, a.arm), \
         ranked AS (SELECT arm, latency, timed, \
         beyond + sum(n) OVER (PARTITION BY arm ORDER BY latency DESC) - n AS slower \
         FROM spread JOIN spans USING (arm) WHERE latency >= low AND latency < high), \
         points AS (SELECT arm, min(latency)::float8 / 1000 AS p95 FROM ranked \
         WHERE timed - slower >= 0.95 * timed GROUP BY arm) \
         SELECT arm, users, n, failed, {newest}, timed, p95, {listed} FROM arms LEFT JOIN points USING (arm)"
    )
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use jiff::Timestamp;

    use super::*;
    use crate::domain::flags::Flag;
    use crate::domain::rollout::query::{Query, SqlQuery};

    fn flag(white: &str) -> Flag {
        Flag { whitelist: Some(vec![white.to_owned()]), ..Flag::off("unified_llm_hub".parse().unwrap()) }
    }

    /// How often the server is asked when these questions come one after the other.
    async fn asked(questions: &[(&Flag, i64, i64, Depth)], result: Result<(), ()>) -> usize {
        let (rounds, count) = (Rounds::default(), Cell::new(0));
        let query = Query::Sql(SqlQuery::CohortErrors);
        for &(flag, rung, second, depth) in questions {
            let window = Window { from: Timestamp::UNIX_EPOCH, to: Timestamp::from_second(second).unwrap() };
            let question = Question { flag, rung: Percent::try_from(rung).unwrap(), query: &query, window };
            let ask = async || {
                count.set(count.get() + 1);
                result.map(|()| Round::default())
            };
            assert_eq!(rounds.of(&question, depth, ask).await.is_ok(), result.is_ok());
        }
        count.get()
    }

    #[tokio::test]
    async fn only_the_same_question_is_answered_from_a_round() {
        let (flag, other) = (flag("a"), flag("b"));
        let first = (&flag, 25, 60, Depth::Latencies);
        for (name, second, times) in [
            ("the same", first, 1),
            ("less of the same", (&flag, 25, 60, Depth::Failures), 1),
            ("another window", (&flag, 25, 61, Depth::Latencies), 2),
            ("another rung", (&flag, 50, 60, Depth::Latencies), 2),
            ("another list", (&other, 25, 60, Depth::Latencies), 2),
        ] {
            assert_eq!(asked(&[first, second], Ok(())).await, times, "{name}");
        }
        let (shallow, deep) = ((&flag, 25, 60, Depth::Failures), first);
        assert_eq!(asked(&[shallow, deep, shallow], Ok(())).await, 2, "more of the same");
    }

    #[tokio::test]
    async fn a_failure_is_asked_again() {
        let flag = flag("a");
        let question = (&flag, 25, 60, Depth::Failures);
        assert_eq!(asked(&[question, question], Err(())).await, 2);
    }

    #[tokio::test]
    async fn rounds_that_are_kept_are_few() {
        let flag = flag("a");
        let mut questions: Vec<_> = (1..=20).map(|second| (&flag, 25, second, Depth::Failures)).collect();
        questions.push(questions[0]);
        assert_eq!(asked(&questions, Ok(())).await, 21);
    }
}

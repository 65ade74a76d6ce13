//! The usage tables: cohort against control in one query, or a SELECT of the operator's own.
//!
//! Everything runs in a read-only transaction with a time limit, on a connection of its own. What the role may not read or the
//! schema does not have is said; nothing is guessed. The built-in questions of one round share one answer ([`round`]).

mod arms;
mod round;
mod schema;

use std::time::Duration;

use jiff::Timestamp;
use sqlx::encode::IsNull;
use sqlx::error::BoxDynError;
use sqlx::postgres::types::Oid;
use sqlx::postgres::{PgArgumentBuffer, PgArguments, PgRow, PgTypeInfo};
use sqlx::query::Query;
use sqlx::{AssertSqlSafe, Encode, Postgres, Row, Type};
use tokio::sync::OnceCell;

use self::arms::{Kind, Listed};
use self::round::{Depth, Round, Rounds};
use self::schema::Usage;
use super::Question;
use crate::domain::flags::Flag;
use crate::domain::rollout::plan::Identity;
use crate::domain::rollout::query::{Query as PlanQuery, SqlQuery};
use crate::domain::rollout::reading::{Arm, Measured, Reading, Window};
use crate::store::StoreError;
use crate::store::postgres::{Pace, Session, Target};

/// Adoption needs a day, and people (rollout.md 6).
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const EXPOSED: u64 = 100;

/// What is said of an answer that nobody asked for.
const OTHER_COLUMNS: &str = "the database answered with other columns";

/// The usage tables of a database.
pub(super) struct UsageTables {
    target: Target,
    identity: Identity,
    limit: Duration,
    depth: Depth,
    found: OnceCell<Usage>,
    rounds: Rounds,
}

/// A moment as the server takes it: microseconds since 2000, binary.
struct Moment(Timestamp);

impl Type<Postgres> for Moment {
    fn type_info() -> PgTypeInfo {
        // timestamptz
        PgTypeInfo::with_oid(Oid(1184))
    }
}

impl Encode<'_, Postgres> for Moment {
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        const YEAR_2000: i64 = 946_684_800_000_000;
        buffer.extend_from_slice(&(self.0.as_microsecond() - YEAR_2000).to_be_bytes());
        Ok(IsNull::No)
    }
}

impl UsageTables {
    /// Nothing is contacted yet; `limit` bounds one statement. If one of the queries asks for latencies, they are read with
    /// the failures.
    pub(super) fn new(target: Target, identity: Identity, limit: Duration, queries: &[&PlanQuery]) -> Self {
        let latencies = queries.iter().any(|query| matches!(query, PlanQuery::Sql(SqlQuery::CohortP95)));
        let depth = if latencies { Depth::Latencies } else { Depth::Failures };
        Self { target, identity, limit, depth, found: OnceCell::new(), rounds: Rounds::default() }
    }

    /// Measure.
    pub(super) async fn measure(&self, query: &SqlQuery, question: &Question<'_>) -> Reading {
        match self.asked(query, question).await {
            Ok(reading) => reading,
            Err(error) => Reading::Failed(error.to_string()),
        }
    }

    /// Whether the tables are there and the server understands a free question.
    pub(super) async fn check(&self, query: &SqlQuery) -> Result<(), StoreError> {
        let mut session = self.begin().await?;
        if let SqlQuery::Text(text) = query {
            let (from, to) = (Timestamp::UNIX_EPOCH, Timestamp::UNIX_EPOCH);
            let sql = format!("EXPLAIN {}", wrapped(text));
            let bound = bound_text(&sql, Window { from, to }, "", 0);
            session.rows(bound).await.map_err(|error| match error {
                StoreError::NoSchema(words) | StoreError::Invalid(words) => {
                    // The advice on migrations is about our tables, not about the operator's question.
                    StoreError::Refused(words.replace("; run `llmhub db apply`", ""))
                }
                other => other,
            })?;
        } else {
            self.usage(&mut session).await?;
        }
        session.abandon().await;
        Ok(())
    }

    async fn begin(&self) -> Result<Session, StoreError> {
        let mut session = Session::open(&self.target).await?;
        session.begin_read(Pace::Work { lock: Duration::from_secs(2), statement: Some(self.limit) }).await?;
        // Compiling costs more than it saves on a question of this size. Sums by user need more than the usual 4 MB, and the
        // server, which cannot know how few requests a span of latencies leaves, would sort them to join.
        session.send("SET LOCAL jit = off; SET LOCAL work_mem = '16MB'; SET LOCAL enable_mergejoin = off").await?;
        Ok(session)
    }

    async fn usage(&self, session: &mut Session) -> Result<Usage, StoreError> {
        self.found.get_or_try_init(|| Usage::find(session, self.identity)).await.copied()
    }

    async fn asked(&self, query: &SqlQuery, question: &Question<'_>) -> Result<Reading, StoreError> {
        match query {
            SqlQuery::CohortErrors => self.compared(question, Kind::Failures).await,
            SqlQuery::CohortP95 => self.compared(question, Kind::Value).await,
            SqlQuery::Adoption => self.adoption(question).await,
            SqlQuery::Text(text) => self.free(text, question).await,
        }
    }

    /// Cohort against control, from the round that this question belongs to.
    async fn compared(&self, question: &Question<'_>, kind: Kind) -> Result<Reading, StoreError> {
        let depth = if kind == Kind::Value { Depth::Latencies } else { self.depth };
        let round = self.rounds.of(question, depth, async || self.round(question, depth).await).await?;
        Ok(arms::reading(&round.counted(kind), round.listed, question.rung, self.identity, kind))
    }

    async fn round(&self, question: &Question<'_>, depth: Depth) -> Result<Round, StoreError> {
        let mut session = self.begin().await?;
        let usage = self.usage(&mut session).await?;
        let sql = round::sql(&usage, self.identity, depth);
        let mut query = bound(&sql, question);
        if depth == Depth::Latencies {
            for mark in round::usual(&mut session, &usage).await? {
                query = query.bind(mark);
            }
        }
        let rows = session.rows(query).await?;
        session.abandon().await;
        Round::read(&rows).ok_or_else(|| StoreError::Invalid(OTHER_COLUMNS.to_owned()))
    }

    async fn adoption(&self, question: &Question<'_>) -> Result<Reading, StoreError> {
        if question.window.to.duration_since(question.window.from).unsigned_abs() < DAY {
            return Ok(Reading::Nothing("adoption is told over a window of 24 hours at least".to_owned()));
        }
        let mut session = self.begin().await?;
        let sql = arms::adoption(&self.usage(&mut session).await?, self.identity);
        let row = session.row(bound(&sql, question)).await?;
        session.abandon().await;
        let reading = row.and_then(|row| self.adopted(&row));
        Ok(reading.unwrap_or_else(|| Reading::Failed(OTHER_COLUMNS.to_owned())))
    }

    async fn free(&self, text: &str, question: &Question<'_>) -> Result<Reading, StoreError> {
        let mut session = self.begin().await?;
        let (name, percent) = (question.flag.key.as_str(), i32::from(question.rung.get()));
        let sql = wrapped(text);
        let rows = session.rows(bound_text(&sql, question.window, name, percent)).await?;
        session.abandon().await;
        Ok(free(&rows))
    }

    fn adopted(&self, row: &PgRow) -> Option<Reading> {
        let (exposed, used, unknown, users) = (whole(row, 0)?, whole(row, 1)?, whole(row, 2)?, whole(row, 3)?);
        let newest: Option<i64> = row.try_get(4).ok()?;
        if let Some(reason) = arms::mismatch(unknown, users, Listed::default(), self.identity) {
            return Some(Reading::Unusable(reason));
        }
        if exposed < EXPOSED {
            return Some(Reading::Nothing(format!("{exposed} users have the feature; adoption needs {EXPOSED}")));
        }
        Some(Reading::Number(Measured {
            value: used as f64 / exposed as f64,
            samples: Some(exposed),
            errors: None,
            at: newest.and_then(|newest| Timestamp::from_millisecond(newest).ok()),
            control: None,
        }))
    }
}

/// The members of a question, in the order of the statements in [`arms`].
fn bound<'q>(sql: &str, question: &Question<'q>) -> Query<'q, Postgres, PgArguments> {
    let Flag { key, .. } = question.flag;
    sqlx::query(AssertSqlSafe(sql.to_owned()))
        .bind(Moment(question.window.from))
        .bind(Moment(question.window.to))
        .bind(key.as_str())
        .bind(i32::from(question.rung.get()))
        .bind(question.flag.white())
        .bind(question.flag.black())
}

fn bound_text<'q>(sql: &str, window: Window, flag: &'q str, percent: i32) -> Query<'q, Postgres, PgArguments> {
    let query = sqlx::query(AssertSqlSafe(sql.to_owned()));
    query.bind(Moment(window.from)).bind(Moment(window.to)).bind(flag).bind(percent)
}

/// The operator's SELECT as a relation: then it is one statement, and two rows are enough to see that there are several. The
/// line break ends a comment.
fn wrapped(text: &str) -> String {
    format!("SELECT to_jsonb(q)::text FROM ({text}\n) q LIMIT 2")
}

fn whole(row: &PgRow, column: usize) -> Option<u64> {
    u64::try_from(row.try_get::<i64, _>(column).ok()?).ok()
}

/// What a free question gave.
fn free(rows: &[PgRow]) -> Reading {
    let row = match rows {
        [] => return Reading::Nothing("the query gives no row".to_owned()),
        [row] => row,
        _ => return Reading::Unusable("the query gives several rows: one is wanted".to_owned()),
    };
    let text: Option<String> = row.try_get(0).ok();
    let object: Option<serde_json::Map<String, serde_json::Value>> =
        text.and_then(|text| serde_json::from_str(&text).ok());
    match object {
        Some(object) => free_row(&object),
        None => Reading::Failed("the database answered with something that is no row".to_owned()),
    }
}

/// One row of a free question, by the names of its columns. NULL is nothing measured.
fn free_row(row: &serde_json::Map<String, serde_json::Value>) -> Reading {
    use serde_json::Value;
    // Numbers arrive as they are, NaN and infinities as texts.
    let number = |name: &str| match row.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Number(number)) => Ok(number.as_f64()),
        Some(Value::String(text)) => match text.as_str() {
            "NaN" => Ok(Some(f64::NAN)),
            "Infinity" => Ok(Some(f64::INFINITY)),
            "-Infinity" => Ok(Some(f64::NEG_INFINITY)),
            _ => Err(Reading::Unusable(format!("the column `{name}` is no number"))),
        },
        Some(_) => Err(Reading::Unusable(format!("the column `{name}` is no number"))),
    };
    // A count that is no count counts nothing, and the plan's minimum holds.
    let count = |name: &str| number(name).map(|count| count.map(|count| if count >= 0.0 { count as u64 } else { 0 }));
    if !row.contains_key("value") {
        return Reading::Unusable("the query gives no column called `value`".to_owned());
    }
    let measured = || -> Result<Reading, Reading> {
        let Some(value) = number("value")? else {
            return Ok(Reading::Nothing("the query gives NULL".to_owned()));
        };
        let control = number("control")?.map(|value| (value, count("control_samples")));
        let control = match control {
            Some((value, samples)) => Some(Arm { value, samples: samples?.unwrap_or(0) }),
            None => None,
        };
        Ok(Reading::Number(Measured { value, samples: count("samples")?, errors: count("errors")?, at: None, control }))
    };
    measured().unwrap_or_else(|reading| reading)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_free_row_is_read_by_its_columns() {
        #[track_caller]
        fn case(row: &str, part: &str) {
            let reading = format!("{:?}", free_row(&serde_json::from_str(row).unwrap()));
            assert!(reading.contains(part), "{reading}");
        }
        case(r#"{"value": 0.25}"#, "value: 0.25, samples: None");
        case(
            r#"{"value": 1, "samples": 12, "errors": 3, "control": 2, "control_samples": 7}"#,
            "samples: Some(12), errors: Some(3)",
        );
        case(r#"{"value": 1, "control": 2, "control_samples": 7}"#, "Arm { value: 2.0, samples: 7 }");
        case(r#"{"value": "NaN"}"#, "value: NaN");
        case(r#"{"value": "-Infinity"}"#, "value: -inf");
        case(r#"{"value": null}"#, "Nothing");
        case(r#"{"value": "12"}"#, "Unusable");
        case(r#"{"value": true}"#, "Unusable");
        case(r#"{"count": 1}"#, "no column called `value`");
        case(r#"{"value": 1, "samples": -4}"#, "samples: Some(0)");
        case(r#"{"value": 1, "samples": "many"}"#, "`samples` is no number");
    }
}

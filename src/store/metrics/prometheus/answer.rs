//! What Prometheus answered to an instant query: exactly one number, or why it is none.
//!
//! Numbers travel as strings ("NaN", "+Inf"), and a result has one of four shapes. Nothing of an answer is trusted: what does
//! not look like Prometheus is a failure with a reason, never a number.

use serde::Deserialize;
use serde_json::value::RawValue;

/// As many labels of a series as a message shows.
const SHOWN: usize = 120;

/// What one question gave.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Answer {
    /// One sample: its value and its time in seconds since 1970.
    One(f64, f64),
    /// No series.
    Empty,
    /// Several series, each by its labels and value.
    Several(Vec<(serde_json::Map<String, serde_json::Value>, f64)>),
    /// A result that holds no number, in words.
    Shapeless(&'static str),
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// The query is wrong; asking again will not help.
    BadQuery(String),
    /// The server does not let us in.
    Locked(String),
    /// Anything else.
    Failed(String),
}

impl Trouble {
    pub(super) fn words(&self) -> &str {
        match self {
            Self::BadQuery(words) | Self::Locked(words) | Self::Failed(words) => words,
        }
    }
}

#[derive(Deserialize)]
struct Body<'a> {
    status: String,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    #[serde(rename = "errorType")]
    error_type: Option<String>,
    error: Option<String>,
    #[serde(default)]
    warnings: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct Data<'a> {
    #[serde(rename = "resultType")]
    kind: String,
    #[serde(borrow)]
    result: &'a RawValue,
}

#[derive(Deserialize)]
struct Series {
    #[serde(default)]
    metric: serde_json::Map<String, serde_json::Value>,
    value: Option<(f64, String)>,
    histogram: Option<serde::de::IgnoredAny>,
}

/// Read the body of an answer with this status.
pub(super) fn read(status: u16, body: &[u8]) -> Result<Answer, Trouble> {
    let data = data(status, body)?;
    let nonsense = || Trouble::Failed("it answered with a result that is not Prometheus'".to_owned());
    let data: Data<'_> = serde_json::from_str(data.get()).map_err(|_| nonsense())?;
    match data.kind.as_str() {
        "scalar" => {
            let (time, value): (f64, String) = serde_json::from_str(data.result.get()).map_err(|_| nonsense())?;
            number(&value).map(|value| Answer::One(value, time)).ok_or_else(nonsense)
        }
        "vector" => {
            let series: Vec<Series> = serde_json::from_str(data.result.get()).map_err(|_| nonsense())?;
            let mut read = Vec::with_capacity(series.len());
            for Series { metric, value, histogram } in series {
                match (value, histogram) {
                    (Some((time, value)), _) => read.push((metric, number(&value).ok_or_else(nonsense)?, time)),
                    (None, Some(_)) => {
                        return Ok(Answer::Shapeless("a native histogram: ask a quantile or a rate of it"));
                    }
                    (None, None) => return Err(nonsense()),
                }
            }
            match read.as_slice() {
                [] => Ok(Answer::Empty),
                [(_, value, time)] => Ok(Answer::One(*value, *time)),
                _ => Ok(Answer::Several(read.into_iter().map(|(metric, value, _)| (metric, value)).collect())),
            }
        }
        "matrix" => Ok(Answer::Shapeless("a range of samples: ask one number of it, such as avg_over_time gives")),
        "string" => Ok(Answer::Shapeless("a text, not a number")),
        _ => Err(nonsense()),
    }
}

/// The strings of an answer to a question for label values.
pub(super) fn read_labels(status: u16, body: &[u8]) -> Result<Vec<String>, Trouble> {
    let nonsense = || Trouble::Failed("it answered with a list that is not Prometheus'".to_owned());
    serde_json::from_str(data(status, body)?.get()).map_err(|_| nonsense())
}

fn data(status: u16, body: &[u8]) -> Result<&RawValue, Trouble> {
    match status {
        401 | 403 => return Err(Trouble::Locked(format!("it refuses the login (HTTP {status})"))),
        300..=399 => {
            let words =
                format!("it answers with a redirect (HTTP {status}), which is not followed: give its own address");
            return Err(Trouble::Failed(words));
        }
        _ => {}
    }
    let Ok(answer) = serde_json::from_slice::<Body<'_>>(body) else {
        return Err(Trouble::Failed(format!(
            "it answered with something that is not Prometheus' JSON (HTTP {status})"
        )));
    };
    if answer.status != "success" {
        let kind = shortened(answer.error_type.as_deref().unwrap_or("error"), 40);
        let words = format!("{kind}: {}", shortened(answer.error.as_deref().unwrap_or("without a reason"), 300));
        return Err(if kind == "bad_data" { Trouble::BadQuery(words) } else { Trouble::Failed(words) });
    }
    // A partial answer is one with warnings; the notes of newer servers on the style of a query are not.
    let warning = answer.warnings.iter().flatten().find(|warning| !warning.starts_with("PromQL info"));
    if let Some(warning) = warning {
        return Err(Trouble::Failed(format!("it warns that the answer may be wrong: {}", shortened(warning, 300))));
    }
    match (status, answer.data) {
        (200, Some(data)) => Ok(data),
        _ => Err(Trouble::Failed(format!("it answered without a result (HTTP {status})"))),
    }
}

/// As Prometheus writes a number.
fn number(text: &str) -> Option<f64> {
    match text {
        "NaN" => Some(f64::NAN),
        "+Inf" | "Inf" => Some(f64::INFINITY),
        "-Inf" => Some(f64::NEG_INFINITY),
        _ if text.bytes().all(|b| b.is_ascii_digit() || b"+-.eE".contains(&b)) => text.parse().ok(),
        _ => None,
    }
}

/// The number of series and the labels of the first, for a message.
pub(super) fn names(series: &[(serde_json::Map<String, serde_json::Value>, f64)]) -> String {
    let labels = |map: &serde_json::Map<String, serde_json::Value>| {
        let pairs: Vec<String> = map.iter().map(|(name, value)| format!("{name}={value}")).collect();
        format!("{{{}}}", shortened(&pairs.join(", "), SHOWN))
    };
    let first: Vec<String> = series.iter().take(2).map(|(map, _)| labels(map)).collect();
    format!("{} series, such as {}", series.len(), first.join(" and "))
}

fn shortened(text: &str, most: usize) -> String {
    let mut short: String = text.chars().take(most).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vector(result: &str) -> String {
        format!(r#"{{"status":"success","data":{{"resultType":"vector","result":{result}}}}}"#)
    }

    #[test]
    fn one_sample_is_a_number_and_the_rest_says_what_it_is() {
        #[track_caller]
        fn case(body: &str, expected: Answer) {
            // Compared as text: NaN equals nothing.
            assert_eq!(format!("{:?}", read(200, body.as_bytes()).unwrap()), format!("{expected:?}"));
        }
        case(&vector(r#"[{"metric":{},"value":[1.5,"0.25"]}]"#), Answer::One(0.25, 1.5));
        case(&vector(r#"[{"metric":{},"value":[1,"NaN"]}]"#), Answer::One(f64::NAN, 1.0));
        case(&vector(r#"[{"metric":{},"value":[1,"+Inf"]}]"#), Answer::One(f64::INFINITY, 1.0));
        case(&vector(r#"[{"metric":{},"value":[1,"-1e-3"]}]"#), Answer::One(-0.001, 1.0));
        case(&vector("[]"), Answer::Empty);
        case(r#"{"status":"success","data":{"resultType":"scalar","result":[3,"4"]}}"#, Answer::One(4.0, 3.0));
        case(
            r#"{"status":"success","warnings":["PromQL info: x"],"data":{"resultType":"scalar","result":[3,"4"]}}"#,
            Answer::One(4.0, 3.0),
        );
        case(
            r#"{"status":"success","data":{"resultType":"string","result":[3,"4"]}}"#,
            Answer::Shapeless("a text, not a number"),
        );
        case(
            r#"{"status":"success","data":{"resultType":"matrix","result":[]}}"#,
            Answer::Shapeless("a range of samples: ask one number of it, such as avg_over_time gives"),
        );
        case(
            &vector(r#"[{"metric":{},"histogram":[1,{"count":"-3","buckets":[[0,"0","1","-3"]]}]}]"#),
            Answer::Shapeless("a native histogram: ask a quantile or a rate of it"),
        );
    }

    #[test]
    fn several_series_are_named() {
        let body = vector(r#"[{"metric":{"a":"1"},"value":[1,"2"]},{"metric":{"a":"2"},"value":[1,"3"]}]"#);
        let Ok(Answer::Several(series)) = read(200, body.as_bytes()) else { panic!("several") };
        assert_eq!(names(&series), r#"2 series, such as {a="1"} and {a="2"}"#);
    }

    #[test]
    fn whatever_is_not_prometheus_is_a_failure() {
        #[track_caller]
        fn case(status: u16, body: &str, part: &str) {
            let trouble = read(status, body.as_bytes()).unwrap_err();
            assert!(trouble.words().contains(part), "{trouble:?}");
        }
        case(200, "<html>", "not Prometheus' JSON");
        case(200, "", "not Prometheus' JSON");
        case(200, "[]", "not Prometheus' JSON");
        case(302, "", "redirect");
        case(401, "", "refuses the login");
        case(503, r#"{"status":"error","errorType":"timeout","error":"late"}"#, "timeout: late");
        case(200, r#"{"status":"success"}"#, "without a result");
        case(500, &vector("[]"), "without a result (HTTP 500)");
        case(200, &vector("{}"), "not Prometheus'");
        case(200, &vector(r#"[{"metric":{}}]"#), "not Prometheus'");
        case(200, &vector(r#"[{"metric":{},"value":[1,"0x10"]}]"#), "not Prometheus'");
        case(200, &vector(r#"[{"metric":{},"value":[1,7]}]"#), "not Prometheus'");
        case(
            200,
            r#"{"status":"success","warnings":["partial"],"data":{"resultType":"scalar","result":[3,"4"]}}"#,
            "it warns that the answer may be wrong: partial",
        );
        case(200, &"[".repeat(100_000), "not Prometheus' JSON");
    }

    #[test]
    fn a_bad_query_is_told_from_a_server_in_trouble() {
        let body = br#"{"status":"error","errorType":"bad_data","error":"1:5: parse error"}"#;
        assert_eq!(read(400, body), Err(Trouble::BadQuery("bad_data: 1:5: parse error".to_owned())));
    }
}

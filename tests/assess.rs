//! `assess` through the real binary: the class and its exit, what is unknown, and that a dead hub keeps nobody from an answer.

use std::time::Duration;

use crate::support::cli::Home;

fn home(error_rate: &str) -> (Home, String) {
    let home = Home::new();
    let file = home.file("hub.env", "FEATURE_UNIFIED_LLM_HUB=true\nFEATURE_LLM_HUB_ROLLOUT=25\n");
    let plan = format!(
        "flag = \"unified_llm_hub\"\n[[metric]]\nname = \"error_rate\"\nsource = \"command\"\ncommand = [\"echo\", \"{error_rate}\"]\n\
         at = {{ 0 = {{ pass_if = \"< 0.02\", fail_if = \"> 0.05\" }} }}\n"
    );
    home.file("plan.toml", plan);
    let line = format!("assess unified_llm_hub --env-file {} --plan plan.toml", file.display());
    (home, line)
}

#[track_caller]
fn case(error_rate: &str, options: &str, status: i32, class: &str, within: serde_json::Value, fired: &[&str]) {
    let (home, line) = home(error_rate);
    let done = home.line(&format!("{line} {options} --json")).exits(status);
    let answer = done.json();
    assert_eq!((&answer["class"], &answer["within"]), (&class.into(), &within), "{}", done.stdout);
    assert_eq!(answer["fired"], serde_json::json!(fired));
    let members: Vec<&str> = answer.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(members, ["flag", "class", "within", "fired", "unanswered", "evidence", "next"]);
}

#[test]
fn what_is_measured_and_what_is_told_make_the_class_and_the_exit() {
    case("0.001", "", 0, "fix_forward", serde_json::Value::Null, &[]);
    case("0.02", "", 0, "fix_forward", serde_json::Value::Null, &[]);
    case("0.03", "", 1, "consider", serde_json::Value::Null, &["error_rate > 0.02"]);
    case("0.06", "", 1, "urgent", "1h".into(), &["error_rate > 0.05", "error_rate > 0.02"]);
    case("0.001", "--fact data_loss=yes", 1, "immediate", "5m".into(), &["data_loss"]);
    case("nonsense", "", 0, "fix_forward", serde_json::Value::Null, &[]);
}

#[test]
fn unknown_is_listed_and_a_mild_answer_says_so_first() {
    let (home, line) = home("NaN");
    let answer = home.line(&format!("{line} --fact data_loss=no")).exits(0);
    let first = answer.stdout.lines().next().unwrap().to_owned();
    assert!(first.contains("nobody answered security_breach, complete_outage, data_corruption"), "{first}");
    let unanswered = home.line(&format!("{line} --json")).exits(0).json()["unanswered"].to_string();
    assert!(unanswered.contains("error_rate") && unanswered.contains("data_loss"), "{unanswered}");
}

#[test]
fn the_next_step_is_a_command_that_can_be_copied() {
    let (home, line) = home("0.03");
    let next = |options: &str| home.line(&format!("{line} {options} --json")).exits(1).json()["next"].to_string();
    assert!(next("").contains("llmhub assess unified_llm_hub"), "{}", next(""));
    assert!(next("--fact can_fix_forward=no").contains("llmhub rollback unified_llm_hub"));
    assert!(next("--fact can_fix_forward=yes").contains("llmhub rollout status unified_llm_hub"));
}

#[test]
fn a_number_changed_in_the_criteria_changes_the_answer() {
    let (home, line) = home("0.03");
    let criteria = "[[class]]\nname = \"urgent\"\nwithin = \"20m\"\nany = [\"error_rate > 0.025\"]\n[[class]]\nname = \"fix_forward\"\notherwise = true\n";
    home.file("mine.toml", criteria);
    let answer = home.line(&format!("{line} --criteria mine.toml --json")).exits(1).json();
    assert_eq!((&answer["class"], &answer["within"]), (&"urgent".into(), &"20m".into()));
    home.file("bad.toml", criteria.replace("> 0.025", "> many"));
    home.line(&format!("{line} --criteria bad.toml")).exits(7).says("bad.toml:4: `error_rate`");
}

#[test]
fn an_emergency_is_assessed_although_the_hub_is_down() {
    let home = Home::new();
    home.line("assess unified_llm_hub --hub http://127.0.0.1:9 --fact complete_outage=yes")
        .exits(1)
        .says("nothing can be measured")
        .prints("immediate: roll back within 5m")
        .within(Duration::from_secs(30));
}

#[test]
fn nonsense_is_a_usage_error_and_an_unknown_flag_is_not_found() {
    let (home, line) = home("0");
    home.line(&format!("{line} --fact data_los=yes")).exits(2).says("is no fact of the criteria");
    home.line(&format!("{line} --fact data_loss=maybe")).exits(2);
    home.line(&line.replace("unified_llm_hub --env", "nope --env").replace(" --plan plan.toml", "")).exits(4);
    home.line("assess unified_llm_hub").exits(3);
}

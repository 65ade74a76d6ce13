//! `rollout plan` through the real binary: what it writes can be read, what is wrong is refused by line, and nothing is written.

use crate::support::cli::Home;
use crate::support::hub::Hub;

fn env_home() -> (Home, String) {
    let home = Home::new();
    let file = home.file("hub.env", "FEATURE_UNIFIED_LLM_HUB=true\nFEATURE_LLM_HUB_ROLLOUT=0\n");
    let place = format!("--env-file {}", file.display());
    (home, place)
}

#[test]
fn the_plan_that_is_written_is_checked_without_a_complaint() {
    let (home, place) = env_home();
    let plan = home.line(&format!("rollout plan unified_llm_hub {place}")).exits(0);
    home.file("plan.toml", &plan.stdout);
    let checked = home.line("rollout plan unified_llm_hub --plan plan.toml --json").exits(0).json();
    assert_eq!(checked["flag"], "unified_llm_hub");
    let steps: Vec<u64> = checked["steps"].as_array().unwrap().iter().filter_map(|step| step["to"].as_u64()).collect();
    assert_eq!(steps, [0, 10, 25, 50, 100]);
    assert_eq!(checked["plan"], plan.stdout);
    let digest = checked["flag_digest"].as_str().unwrap();
    assert!(plan.stdout.contains(&format!("flag_digest = \"{digest}\"")), "{}", plan.stdout);
}

#[test]
fn the_plan_measures_what_is_configured() {
    let (home, place) = env_home();
    let told = format!("rollout plan unified_llm_hub {place} --prometheus http://localhost:9090 --logs hub.log --json");
    let plan = home.line(&told).exits(0).json();
    let names: Vec<&str> =
        plan["metrics"].as_array().unwrap().iter().filter_map(|metric| metric["name"].as_str()).collect();
    assert_eq!(names, ["hub_error_rate", "hub_p95_ratio", "log_error_rate"]);
    assert_eq!(plan["metrics"][0]["conditions"][1]["min_samples"], 500);
}

#[test]
fn the_users_of_each_step_are_counted_and_the_plan_is_bound_to_them() {
    let (home, place) = env_home();
    let users: String = (1..=10_000).map(|number| format!("user-{number:04}\n")).collect();
    home.file("users.txt", users);
    let plan = home.line(&format!("rollout plan unified_llm_hub {place} --users users.txt --json")).exits(0).json();
    let on: Vec<u64> = plan["steps"].as_array().unwrap().iter().filter_map(|step| step["on"].as_u64()).collect();
    assert_eq!(on, [0, 967, 2473, 4966, 10_000]);
    assert!(plan["cohort_digest"].as_str().unwrap().starts_with("sha256:"));
}

#[test]
fn a_plan_that_is_wrong_is_refused_by_line_and_nothing_is_asked() {
    let hub = Hub::builder().start();
    let home = Home::new().variable("LLMHUB_HUB_URL", hub.url());
    let bad = "flag = \"unified_llm_hub\"\nsteps = [0, 25, 10, 100]\nbaek = \"30m\"\n[[metric]]\nname = \"m\"\nsource = \"sql\"\nquery = \"@cohort_eror\"\n";
    home.file("bad.toml", bad);
    home.line("rollout plan unified_llm_hub --plan bad.toml")
        .exits(7)
        .says("bad.toml:2: `steps` goes down from 25 to 10")
        .says("bad.toml:3: unknown key `baek`; did you mean `bake`?")
        .says("bad.toml:7: `metric.query`");
    assert_eq!(hub.requests().len(), 0);
    let error = home.line("rollout plan unified_llm_hub --plan bad.toml --json").exits(7);
    assert_eq!(error.code(), "input");
}

#[test]
fn a_password_in_an_address_is_refused_and_never_repeated() {
    let (home, place) = env_home();
    for address in ["http://u:canary-password-9a55@x:9090", "http://x/?token=canary-password-9a55"] {
        home.line(&format!("rollout plan unified_llm_hub {place} --prometheus {address}"))
            .exits(2)
            .says("the address of --prometheus must");
    }
}

#[test]
fn a_plan_for_another_flag_a_missing_file_and_an_unknown_flag_are_refused() {
    let (home, place) = env_home();
    let plan = home.line(&format!("rollout plan unified_llm_hub {place}")).exits(0).stdout;
    home.file("plan.toml", plan);
    home.line("rollout plan advanced_analytics --plan plan.toml").exits(7).says("is a plan for `unified_llm_hub`");
    assert_ne!(home.line("rollout plan unified_llm_hub --plan none.toml").done().status, 0);
    home.line(&format!("rollout plan nope {place}")).exits(4);
    home.line("rollout plan unified_llm_hub").exits(3);
    home.line("rollout plan unified_llm_hub --hub http://127.0.0.1:9").exits(6);
}

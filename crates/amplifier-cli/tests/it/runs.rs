//! `amplifier runs` and `amplifier trigger history`, asked of runs that another process has made.

use std::time::Duration;

use amplifier_background::trigger::{BackgroundName, TriggerRegistry};
use amplifier_background::{BackgroundConfig, BackgroundSessionManager, queue_of};
use amplifier_foundation::store::{RunFilter, RunState};
use amplifier_foundation::{Host, Shutdown};
use serde_json::{Value, json};

use crate::kit::Place;

const SCRIPT: &str = "- when: {prompt: fail}
  error: {kind: auth, message: the key is not known}
- when: {prompt: wait}
  text: late
  delay_ms: 60000
- when: {prompt: report}
  text: The night was quiet. All is well.
  usage: {input_tokens: 1200, output_tokens: 34}
  cost_usd: 0.0123";

/// A project whose bundle `b` reports, fails or waits as it is told, and the background session `night` in
/// this process.
struct Night {
    place: Place,
    runtime: tokio::runtime::Runtime,
    host: Host,
    manager: BackgroundSessionManager,
}

fn name() -> BackgroundName {
    BackgroundName::new("night").unwrap()
}

impl Night {
    fn new() -> Self {
        let place = Place::scripted(SCRIPT);
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let (home, project) = (place.home(), place.project());
        std::fs::create_dir_all(&home).unwrap();
        let (host, manager) = runtime.block_on(async {
            let builder = Host::builder().modules(amplifier_modules::builtin()).home(home);
            let host = builder.open(&project).await.unwrap();
            let manager = BackgroundSessionManager::new(&host);
            let declared = json!({"name": "night", "bundle": "b", "instruction_template": "{trigger.data.do}",
                "triggers": [{"type": "manual", "name": "hand"}], "queue": {"attempts": 1}});
            let config = BackgroundConfig::parse(&declared, &TriggerRegistry::new()).unwrap();
            manager.start(config).await.unwrap();
            (host, manager)
        });
        Self { place, runtime, host, manager }
    }

    fn fire(&self, what: &str) -> String {
        let name = name();
        let run = self.manager.fire(&name, json!({ "do": what }));
        self.runtime.block_on(run).unwrap().as_str().to_owned()
    }

    /// Waits until the runs are in these states, in the order of their numbers.
    fn until(&self, states: &[RunState]) {
        let waiting = async {
            let mut filter = RunFilter::default();
            filter.queue = Some(queue_of(&name()));
            loop {
                let rows = self.host.store().runs(&filter).await.unwrap();
                if rows.iter().map(|row| row.state).eq(states.iter().copied()) {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let late = Duration::from_secs(20);
        let within = self.runtime.block_on(async { tokio::time::timeout(late, waiting).await });
        assert!(within.is_ok(), "the runs are not {states:?}");
    }

    /// One run that completed and one that died of its failure.
    fn with_two() -> Self {
        let night = Self::new();
        night.fire("report");
        night.fire("fail");
        night.until(&[RunState::Completed, RunState::Dead]);
        night
    }
}

impl Drop for Night {
    fn drop(&mut self) {
        self.runtime.block_on(async {
            self.manager.shutdown(Shutdown::Now).await;
            self.host.shutdown(Shutdown::Now).await;
        });
    }
}

#[test]
fn the_morning_report_fits_a_terminal_and_says_what_to_do() {
    let night = Night::with_two();
    let text = night.place.run(&["runs"]).ok().stdout;
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    assert!(!text.contains('\u{1b}'), "{text}");
    let place = |part: &str| text.find(part).unwrap_or_else(|| panic!("{part:?} is not in:\n{text}"));
    assert!(
        text.starts_with("2 runs in the last 24h: 1 failed, 1 completed; 1.2k tokens, $0.0123+\n"),
        "{text}"
    );
    assert!(place("FAILED") < place("COMPLETED"), "{text}");
    assert!(place("the key is not known") < place("amplifier runs retry 2"), "{text}");
    place("    #1  night/hand ");
    place("The night was quiet. All is well.");
    place("night                     2 =     2 +         0 +       0 +        0  $0.0123+");
}

#[test]
fn a_report_for_programs_holds_runs_sums_and_the_law() {
    let night = Night::with_two();
    let report = night.place.run(&["runs", "--json"]).ok().json();
    assert_eq!((&report["num_runs"], &report["runs_left_out"]), (&json!(2), &json!(0)));
    let (dead, done) = (&report["runs"][0], &report["runs"][1]);
    assert_eq!(
        (&dead["state"], &dead["standing"], &dead["number"]),
        (&json!("dead"), &json!("failed"), &json!(2))
    );
    assert_eq!((&done["total_cost_usd"], &done["usage"]["input_tokens"]), (&json!(0.0123), &json!(1_200)));
    assert_eq!(done["result"], "The night was quiet. All is well.");
    assert_eq!((&done["trigger"]["type"], &done["background_session"]), (&json!("manual"), &json!("night")));
    let totals = &report["background_sessions"][0];
    assert_eq!(
        (&totals["triggered"], &totals["rows"], &totals["adds_up"]),
        (&json!(2), &json!(2), &json!(true))
    );
    assert_eq!(totals["states"], json!({"completed": 1, "dead": 1}));
    let only = night.place.run(&["runs", "--state", "dead", "--json"]).ok().json();
    assert_eq!(only["runs"].as_array().unwrap().len(), 1);
    let none = night.place.run(&["runs", "--background", "day", "--json"]).ok().json();
    assert_eq!(none["runs"], json!([]));
    let few = night.place.run(&["runs", "--limit", "1"]).ok().stdout;
    assert!(few.contains("\n1 more; --limit shows them\n"), "{few}");
}

#[test]
fn one_run_is_shown_with_its_attempts_and_its_answer() {
    let night = Night::with_two();
    let text = night.place.run(&["runs", "show", "1"]).ok().stdout;
    for part in
        ["number:     #1", "trigger:    manual", "data:       {\"do\":\"report\"}", "state:      completed"]
    {
        assert!(text.contains(part), "{part} is not in:\n{text}");
    }
    assert!(text.ends_with("\nresult\nThe night was quiet. All is well.\n"), "{text}");
    assert!(text.contains("\nattempts\n  1  completed"), "{text}");
    let json = night.place.run(&["runs", "show", "#2", "--json"]).ok().json();
    assert_eq!((&json["attempts"][0]["outcome"], &json["data"]["do"]), (&json!("failed"), &json!("fail")));
    let chain: Vec<&Value> = json["chain"].as_array().unwrap().iter().map(|link| &link["kind"]).collect();
    assert_eq!(chain, ["trigger", "run", "session", "event"]);
    // By its session, too.
    let session = json["session_id"].as_str().unwrap();
    let same = night.place.run(&["runs", "show", session, "--json"]).ok().json();
    assert_eq!(same["run_id"], json["run_id"]);
    night.place.run(&["runs", "show", "77"]).code(2).says(&["there is no run `77` in this project"]);
    night.place.run(&["runs", "show", "night:"]).code(2).says(&["may be 2 runs"]);
}

#[test]
fn a_dead_run_is_tried_again_by_the_process_that_works() {
    let night = Night::with_two();
    let done = night
        .place
        .call(&["runs", "retry", "2", "--reason", "the key is back"])
        .env("USER", "ada")
        .done()
        .ok();
    assert!(!done.stderr.contains("nobody works"), "{done:#?}");
    assert!(done.stdout.starts_with("night:hand:1:r-"), "{done:#?}");
    night.until(&[RunState::Completed, RunState::Dead, RunState::Dead]);
    night.place.run(&["runs", "retry", "2"]).code(2).says(&["was tried again already, as night:hand:1:r-"]);
    night.place.run(&["runs", "retry", "1"]).code(2).says(&["is completed; only a dead or cancelled one"]);
    let told = night.place.run(&["event", "replay", "run:retried", "--json"]).ok().lines();
    assert_eq!(
        (&told[0]["data"]["actor"], &told[0]["data"]["reason"]),
        (&json!("ada"), &json!("the key is back"))
    );
    let report = night.place.run(&["runs", "--json"]).ok().json();
    let totals = &report["background_sessions"][0];
    assert_eq!((&totals["triggered"], &totals["adds_up"]), (&json!(3), &json!(true)));
    let text = night.place.run(&["runs"]).ok().stdout;
    assert!(text.contains("TRIED AGAIN"), "{text}");
}

#[test]
fn a_run_that_waits_is_dropped_and_one_that_runs_is_stopped() {
    let night = Night::new();
    night.fire("wait");
    night.until(&[RunState::Running]);
    let second = night.fire("report");
    let text = night.place.run(&["runs"]).ok().stdout;
    assert!(text.contains("\nRUNNING\n") && text.contains("\nWAITS\n"), "{text}");
    let done = night.place.run(&["runs", "drop", "2", "--json"]).ok();
    assert_eq!(
        (&done.json()[0]["run_id"], &done.json()[0]["dropped"]),
        (&json!(second), &json!("cancelled"))
    );
    night.until(&[RunState::Running, RunState::Cancelled]);
    night.place.run(&["runs", "drop", "1"]).ok().says(&["was asked to stop"]);
    night.until(&[RunState::Cancelled, RunState::Cancelled]);
    night.place.run(&["runs", "drop", "1"]).code(2).says(&["is cancelled already"]);
    night.place.run(&["runs", "drop", "1", "nothing"]).code(2).says(&["there is no run `nothing`"]);
}

#[test]
fn nothing_is_told_where_nothing_ran() {
    let place = Place::new();
    let done = place.run(&["runs"]).ok().says(&["no run in the last 24h; `amplifier runs --all`"]);
    assert_eq!(done.stdout, "");
    assert_eq!(place.run(&["runs", "--all", "--json"]).ok().json()["runs"], json!([]));
    place.run(&["runs", "--since", "yesterday"]).code(2).says(&["write a span such as 12h"]);
    place.run(&["runs", "--state", "walking"]).code(2).says(&["there are queued, leased"]);
    place.run(&["runs", "retry"]).code(2);
    let done = place.run(&["trigger", "history"]).ok().says(&["nothing has fired"]);
    assert_eq!(done.stdout, "");
}

#[test]
fn history_tells_of_each_firing_what_it_became() {
    let night = Night::with_two();
    let rejected = night.runtime.block_on(async { night.manager.fire(&name(), json!({"else": 1})).await });
    assert!(rejected.is_err());
    let text = night.place.run(&["trigger", "history"]).ok().stdout;
    let became: Vec<&str> =
        text.lines().filter_map(|line| line.split_once("night/hand")).map(|(_, rest)| rest.trim()).collect();
    assert_eq!(became, ["rejected", "#2 dead", "#1 completed"], "{text}");
    assert!(text.contains("do"), "the field that is missing: {text}");
    let lines = night.place.run(&["trigger", "history", "night/hand", "--limit", "2", "--json"]).ok().lines();
    assert_eq!(lines.len(), 2);
    assert_eq!((&lines[0]["became"], &lines[1]["number"]), (&json!("rejected"), &json!(2)));
    assert_eq!(lines[1]["trigger"], "hand");
    assert_eq!(night.place.run(&["trigger", "history", "day"]).ok().stdout, "");
    assert_eq!(night.place.run(&["trigger", "history", "night/other"]).ok().stdout, "");
    night.place.run(&["trigger", "history", "no name"]).code(2);
}

#[test]
fn triggers_are_listed_and_fired_where_nobody_listens() {
    let place = Place::scripted(SCRIPT);
    place.write(
        ".amplifier/background.yaml",
        "background_sessions:\n  - name: night\n    bundle: b\n    instruction_template: \"{trigger.data.do}\"\n    triggers:\n      - {type: timer, name: late, config: {cron: \"0 3 * * *\"}}\n      - {type: manual, name: hand}\n",
    );
    let list = place.run(&["trigger", "list"]).ok().says(&["nobody listens to them"]).stdout;
    assert!(list.lines().all(|line| line.chars().count() <= 80), "{list}");
    let lines: Vec<&str> = list.lines().collect();
    assert!(lines[1].starts_with("night/late ") && lines[1].ends_with(" 03:00Z"), "{list}");
    assert_eq!((lines[2], lines[4]), ("    cron 0 3 * * * UTC", "    by hand"));
    let fired =
        place.run(&["trigger", "fire", "night/hand", "{\"do\": \"report\"}"]).ok().says(&["waits for"]);
    assert!(fired.stdout.starts_with("night:hand:1:m-"), "{fired:#?}");
    place.run(&["trigger", "fire", "night/late", "{\"do\": \"report\"}"]).ok();
    let no = place.run(&["trigger", "fire", "night/none", "{}"]).code(2);
    no.says(&["background session night has no trigger none", "there are late, hand"]);
    let text = place.run(&["runs"]).ok().stdout;
    assert!(text.contains("\nWAITS\n") && text.contains("        for a place\n"), "{text}");
    let history = place.run(&["trigger", "history", "night/hand", "--json"]).ok().lines();
    assert_eq!((history.len(), &history[0]["became"]), (1, &json!("queued")));
    let list = place.run(&["trigger", "list", "--json"]).ok().json();
    assert!(list[1]["last_fired"].is_string() && list[0]["next"].is_string(), "{list:#}");
    assert_eq!((&list[0]["state"], &list[0]["type"]), (&Value::Null, &json!("timer")));
    let done = place.run(&["runs", "retry", "1"]).code(2);
    done.says(&["is queued; only a dead or cancelled one is tried again"]);
    place.run(&["runs", "drop", "1", "2"]).ok();
    place.run(&["runs", "retry", "1"]).ok().says(&["is tried again as #3", "nobody works on runs here"]);
}

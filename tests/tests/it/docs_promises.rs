//! `docs/promises.md` and `docs/regressions.md` name what exists: each promise an item of the API and a test, each
//! fault of the reference system a test or the reason why it cannot occur.

use std::path::Path;

use super::docs_guarantees::{fault, rows_below as rows, workspace};

/// Items that a page may name. What is listed here is public under this path, or this does not compile.
macro_rules! items {
    ($($item:path),+ $(,)?) => {
        const ITEMS: &[&str] = &[$(stringify!($item)),+];
        $(const _: () = {
            #[allow(unused_imports, reason = "that it can be imported is the point")]
            use $item as _;
        };)+
    };
}

items![
    amplifier_background::BackgroundConfig,
    amplifier_background::BackgroundSessionManager,
    amplifier_background::Counts,
    amplifier_background::SessionEventTrigger,
    amplifier_core::EventPattern,
    amplifier_core::EventType,
    amplifier_core::OutcomeKind,
    amplifier_core::SessionEvent,
    amplifier_crew::ForemanSessionStorage,
    amplifier_foundation::EventFilter,
    amplifier_foundation::EventRouter,
    amplifier_foundation::SessionStorage,
    amplifier_foundation::SpawnError,
    amplifier_foundation::SpawnRequest,
    amplifier_foundation::SpawnResult,
    amplifier_foundation::bundle::Bundle,
    amplifier_foundation::bundle::BundleLoader,
    amplifier_foundation::router::Delivery,
    amplifier_foundation::spawn::ContextRequest,
    amplifier_foundation::spawn::Inherit,
    amplifier_foundation::spawn::SpawnTask,
    amplifier_foundation::spawn_bundle,
    amplifier_foundation::storage::FileStorage,
    amplifier_foundation::storage::SnapshotStorage,
    amplifier_foundation::trigger::FileChangeTrigger,
    amplifier_foundation::trigger::ManualHandle,
    amplifier_foundation::trigger::ManualTrigger,
    amplifier_foundation::trigger::TimerTrigger,
    amplifier_foundation::trigger::TriggerSource,
    amplifier_foundation::trigger::WebhookTrigger,
    amplifier_foundation::trigger::simulate,
    amplifier_foundation::trigger::timer::When,
];

/// What stands in the place of an item where the programs are what is promised.
const PROGRAMS: &str = "the two programs";

/// What each group of promises must speak of, in the words of the original design.
const PROMISED: [&str; 23] = [
    "spawn_bundle",
    "bundle is resolved",
    "inherits configuration",
    "Context is passed",
    "in the background",
    "emits its end",
    "SpawnResult",
    "SessionStorage",
    "SESSION_COMPLETED",
    "SESSION_ERROR",
    "the same primitive",
    "ForemanSessionStorage",
    "identical",
    "SessionEvent",
    "EventRouter",
    "subscribes",
    "waits for an event with a time-out",
    "intervals",
    "cron-like",
    "SessionEventTrigger",
    "ManualTrigger",
    "declared",
    "Python system",
];

/// What a cell names in code.
fn named(cell: &str) -> Vec<&str> {
    cell.split('`').skip(1).step_by(2).collect()
}

/// True if an item is public under this path: one of [`ITEMS`], or a method of one of them.
fn exists(item: &str) -> bool {
    let is_listed = |item: &str| ITEMS.iter().any(|known| known.replace(' ', "") == item);
    let is_method = |(of, method): (&str, &str)| is_listed(of) && has_method(method);
    is_listed(item) || item.rsplit_once("::").is_some_and(is_method)
}

/// True if a library has a public method of this name.
fn has_method(name: &str) -> bool {
    fn look(folder: &Path, wanted: &[String]) -> bool {
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).any(|path| {
            match path.is_dir() {
                true => look(&path, wanted),
                false => {
                    let text = std::fs::read_to_string(&path).unwrap_or_default();
                    wanted.iter().any(|wanted| text.contains(wanted))
                }
            }
        })
    }
    let fns = ["pub fn", "pub async fn"].iter();
    let wanted: Vec<String> =
        fns.flat_map(|kind| [format!("{kind} {name}("), format!("{kind} {name}<")]).collect();
    ["amplifier-foundation", "amplifier-background", "amplifier-trigger"]
        .iter()
        .any(|krate| look(&workspace().join("crates").join(krate).join("src"), &wanted))
}

#[test]
fn every_promise_names_an_item_and_tests_that_exist() {
    let page = std::fs::read_to_string(workspace().join("docs/promises.md")).unwrap();
    let rows = rows(&page, &["promise", "API", "test", "limit"]);
    let mut faults = Vec::new();
    for row in &rows {
        let [promise, api, tests, _] = row.as_slice() else { panic!("a row has four cells: {row:?}") };
        let (items, tests) = (named(api), named(tests));
        if tests.is_empty() || (items.is_empty() && api != PROGRAMS) {
            faults.push(format!("{promise}: no item or no test"));
        }
        let gone = items.into_iter().filter(|item| !exists(item));
        faults.extend(gone.map(|item| format!("{promise}: nothing is public as `{item}`")));
        faults.extend(tests.iter().filter_map(|test| fault(&workspace(), test)));
    }
    assert!(faults.is_empty(), "docs/promises.md:\n{}", faults.join("\n"));
    assert!(rows.len() > 30, "{} promises: the tables are not read", rows.len());
    let said: String = rows.iter().map(|row| format!("{} {}\n", row[0], row[1])).collect();
    let missing: Vec<&str> = PROMISED.into_iter().filter(|promise| !said.contains(promise)).collect();
    assert!(missing.is_empty(), "not answered: {missing:?}");
}

#[test]
fn every_fault_names_tests_that_exist_or_why_it_cannot_occur() {
    let page = std::fs::read_to_string(workspace().join("docs/regressions.md")).unwrap();
    let (faults, commits) = (
        rows(&page, &["fault", "what went wrong", "test"]),
        rows(&page, &["commit", "what went wrong", "test"]),
    );
    let numbers: Vec<usize> = faults.iter().map(|row| row[0].parse().unwrap()).collect();
    assert_eq!(numbers, (1..=52).collect::<Vec<_>>());
    assert_eq!(commits.len(), 25 + 11);
    let is_commit = |text: &str| text.len() == 7 && text.bytes().all(|b| b.is_ascii_hexdigit());
    for row in faults.iter().chain(&commits) {
        let [number, what, test] = row.as_slice() else { panic!("a row has three cells: {row:?}") };
        assert!(what.len() > 20, "{number}: what went wrong?");
        let is_known = number.parse::<usize>().is_ok() || number.split(", ").all(is_commit);
        assert!(is_known, "{number} is neither a number nor a commit");
        let tests = named(test);
        if tests.is_empty() {
            let why = test.strip_prefix("cannot occur: ");
            assert!(why.is_some_and(|why| why.len() > 20), "{number}: neither a test nor a reason");
        }
        let gone: Vec<String> = tests.iter().filter_map(|test| fault(&workspace(), test)).collect();
        assert!(gone.is_empty(), "{number}: {}", gone.join(", "));
    }
}

/// A test that is named after a fault is the one that its row names.
#[test]
fn tests_of_faults_stand_in_their_rows() {
    fn collect(folder: &Path, names: &mut Vec<String>) {
        for path in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                collect(&path, names);
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap_or_default();
            let of = |line: &str| {
                line.split_once("fn fault_").and_then(|(_, rest)| Some(rest.split_once('(')?.0.to_owned()))
            };
            names.extend(text.lines().filter(|line| !line.contains('"')).filter_map(of));
        }
    }
    let page = std::fs::read_to_string(workspace().join("docs/regressions.md")).unwrap();
    let mut names = Vec::new();
    collect(&workspace().join("tests/tests/it"), &mut names);
    assert!(names.len() > 20, "{names:?}");
    for name in names {
        let number = name.split('_').next().unwrap().trim_start_matches('0').to_owned();
        let row = page.lines().find(|line| line.starts_with(&format!("| {number} |"))).unwrap();
        assert!(row.contains(&format!("fault_{name}`")), "row {number} does not name fault_{name}");
    }
}

#[test]
fn what_is_not_public_is_found() {
    assert!(
        exists("amplifier_foundation::spawn_bundle") && exists("amplifier_foundation::EventRouter::emit")
    );
    for wrong in ["amplifier_foundation::spawn_bundles", "amplifier_foundation::EventRouter::omit", "nothing"]
    {
        assert!(!exists(wrong), "{wrong}");
    }
    let page = "| commit | what went wrong | test |\n|---|---|---|\n| a | b | `c::d` |\n\n| x | y | z |\n";
    assert_eq!(rows(page, &["commit", "what went wrong", "test"]), [["a", "b", "`c::d`"]]);
}

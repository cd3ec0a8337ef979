//! The built `foreman`'s daemon: its start, its end, and who asks it from outside.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use amplifier_tests::bundle::BundleText;
use amplifier_tests::process::{Done, Running, call_foreman, runs};
use amplifier_tests::project::TempProject;
use nix::sys::signal::Signal;
use serde_json::{Value, json};

const POOLS: &str = "worker_pools:\n  - {name: workers, worker_bundle: plain, max_concurrent: 2}\n  - {name: readers, \
                     worker_bundle: plain, route_types: [epic]}\nrouting: {default_pool: workers}\n";

fn project() -> TempProject {
    let project = TempProject::new();
    let bundle = BundleText::bare("plain").orchestrator("loop-basic").context("context-simple");
    project.bundle("plain", bundle.provider("provider-scripted", json!({"script": [], "default": "done"})));
    project.write("foreman.yaml", POOLS);
    project
}

fn foreman(project: &TempProject, args: &[&str]) -> Done {
    call_foreman(project, args).done()
}

/// A daemon in the foreground that is ready.
fn daemon(project: &TempProject, more: &[&str]) -> Running {
    let running = call_foreman(project, [&["start", "--foreground"], more].concat()).start();
    running.told("works on issues");
    running
}

fn pools(project: &TempProject) -> Vec<(String, bool)> {
    let status = foreman(project, &["status", "--json"]).exits(0).json();
    let pool = |pool: &Value| (pool["name"].as_str().unwrap().to_owned(), pool["running"] == true);
    status["pools"].as_array().unwrap().iter().map(pool).collect()
}

fn both(running: bool) -> Vec<(String, bool)> {
    vec![("workers".to_owned(), running), ("readers".to_owned(), running)]
}

#[test]
fn what_init_writes_can_be_used_as_it_is_and_is_not_overwritten() {
    let project = TempProject::new();
    foreman(&project, &["init"]).exits(0).says(&["wrote foreman.yaml"]);
    let before = project.read("foreman.yaml");
    let told = foreman(&project, &["doctor", "--json"]).exits(0).json();
    assert_eq!(told["ok"], true);
    project.write("foreman.yaml", "worker_pools: []\n");
    foreman(&project, &["init"]).exits(2).says(&["foreman.yaml is there already", "--force"]);
    assert_eq!(project.read("foreman.yaml"), "worker_pools: []\n");
    foreman(&project, &["init", "--force"]).exits(0);
    assert_eq!(project.read("foreman.yaml"), before);
}

#[test]
fn what_is_wrong_is_told_with_its_place_and_nothing_starts() {
    let project = project();
    for (text, says) in [
        ("worker_pools:\n  - {name: a, worker_bundle: plain, speed: 3}\n", &["foreman.yaml:2:", "speed"][..]),
        (
            "worker_pools:\n  - {name: a, worker_bundle: plain}\nrouting: {default_pool: b}\n",
            &["foreman.yaml:3:", "`b` is not known"],
        ),
        ("worker_pools:\n  - {name: a, worker_bundle: nowhere}\n", &["nowhere"]),
        ("worker_pools: [\n", &["foreman.yaml:"]),
    ] {
        project.write("foreman.yaml", text);
        foreman(&project, &["start"]).exits(2).says(says);
        foreman(&project, &["start", "--foreground"]).exits(2).says(says);
    }
    project.write("broken.md", "---\nbundle: {name: broken\n---\n");
    project.write("foreman.yaml", "worker_pools:\n  - {name: a, worker_bundle: ./broken.md}\n");
    foreman(&project, &["start"]).exits(2).says(&["broken.md"]);
    std::fs::remove_file(project.path().join("foreman.yaml")).unwrap();
    foreman(&project, &["start"]).exits(2).says(&["foreman init"]);
    foreman(&project, &["stop"]).exits(1).says(&["no foreman runs in this project"]);
}

#[test]
fn a_daemon_outlives_who_started_it_and_ends_when_it_is_asked() {
    let project = project();
    let ready = foreman(&project, &["start", "--json", "--drain-timeout", "1s"]).exits(0).json();
    assert_eq!((&ready["type"], &ready["pools"][0]["name"]), (&json!("ready"), &json!("workers")));
    assert_eq!(pools(&project), both(true));
    let triggers = foreman(&project, &["trigger", "list", "--json"]).exits(0).stdout;
    assert!(triggers.contains("\"workers\"") && triggers.contains("issue_event"), "{triggers}");
    let pid = ready["pid"].as_i64().unwrap();
    foreman(&project, &["start"]).exits(75).says(&[&format!("process {pid}")]);
    foreman(&project, &["start", "--foreground"]).exits(75);
    foreman(&project, &["stop"]).exits(0);
    assert_eq!(pools(&project), both(false));
    let log = std::fs::read_to_string(ready["log"].as_str().unwrap()).unwrap();
    assert!(log.contains("stopped"), "{log}");
    let pid = i32::try_from(pid).unwrap();
    let gone = (0..500).any(|_| {
        std::thread::sleep(Duration::from_millis(10));
        !runs(pid)
    });
    assert!(gone, "the daemon is still there");
}

#[test]
fn a_program_is_told_all_of_it_in_the_first_line_and_two_projects_have_a_daemon_each() {
    let both = [project(), project()];
    let daemons = both.each_ref().map(|project| {
        let args = ["start", "--foreground", "--json", "--listen", "127.0.0.1:0"];
        call_foreman(project, args).start()
    });
    let urls: Vec<String> = daemons
        .iter()
        .map(|daemon| {
            let first: Value = serde_json::from_str(&daemon.line("\"type\":\"ready\"")).unwrap();
            assert_eq!(first["pools"][0]["name"], "workers");
            assert_eq!(first["url"], format!("http://{}/", first["address"].as_str().unwrap()));
            first["url"].as_str().unwrap().to_owned()
        })
        .collect();
    assert_ne!(urls[0], urls[1]);
    foreman(&both[0], &["add", "one", "--wait"]).exits(0);
    let issues = both.each_ref().map(|project| {
        let listed = foreman(project, &["issue", "list", "--all", "--json"]).exits(0).json();
        listed.as_array().unwrap().len()
    });
    assert_eq!(issues, [1, 0]);
    foreman(&both[0], &["stop"]).exits(0);
    assert_eq!(pools(&both[1]), self::both(true));
}

#[test]
fn a_daemon_that_is_killed_runs_nothing_and_its_pauses_stay() {
    let project = project();
    let running = daemon(&project, &[]);
    assert_eq!(pools(&project), both(true));
    foreman(&project, &["pause", "readers"]).exits(0);
    foreman(&project, &["pause", "nobody"]).exits(2).says(&["there is no pool nobody", "readers, workers"]);
    running.crash();
    assert_eq!(pools(&project), both(false));
    let next = daemon(&project, &[]);
    let paused =
        |at: usize| foreman(&project, &["status", "--json"]).json()["pools"][at]["paused_since"].is_string();
    assert_eq!((paused(0), paused(1)), (false, true));
    foreman(&project, &["resume"]).exits(0);
    assert_eq!((paused(0), paused(1)), (false, false));
    foreman(&project, &["drain", "--timeout", "20s"]).exits(0).says(&["nothing runs any more"]);
    assert_eq!((paused(0), paused(1)), (true, true));
    next.signal(Signal::SIGTERM);
    next.wait().exits(143);
}

fn get(address: &str, path: &str, header: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{header}Connection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, _) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), answer)
}

#[test]
fn a_token_and_a_link_let_in_and_nothing_else_does() {
    let project = project();
    foreman(&project, &["open"]).exits(1).says(&["no foreman of this project listens", "--listen"]);
    let running = daemon(&project, &["--listen", "127.0.0.1:0"]);
    let link = foreman(&project, &["open", "--json"]).exits(0).json();
    let url = link["url"].as_str().unwrap().strip_prefix("http://").unwrap().to_owned();
    let (address, path) = url.split_at(url.find('/').unwrap());
    let token = foreman(&project, &["token", "add", "ci", "--role", "read"]).exits(0).stdout;
    let bearer = format!("Authorization: Bearer {}\r\n", token.trim());
    assert_eq!(get(address, "/healthz", "").0, 200);
    assert_eq!(get(address, "/api/v1/runs", "").0, 401);
    assert_eq!(get(address, "/api/v1/runs", &bearer).0, 200);
    let (status, answer) = get(address, path, "");
    assert_eq!(status, 200, "{answer}");
    let cookie = answer.lines().find_map(|line| line.strip_prefix("set-cookie: ")).unwrap();
    let cookie = format!("Cookie: {}\r\n", cookie.split(';').next().unwrap());
    assert_eq!(get(address, "/api/v1/runs", &cookie).0, 200);
    assert_ne!(get(address, path, "").0, 200, "a link lets in once");
    foreman(&project, &["token", "revoke", "ci"]).exits(0);
    assert_eq!(get(address, "/api/v1/runs", &bearer).0, 401);
    let listed = foreman(&project, &["token", "list", "--json"]).exits(0).stdout;
    assert!(listed.contains("\"ci\"") && !listed.contains(token.trim()));
    // A client that never reads its events keeps nobody.
    let mut idle = TcpStream::connect(address).unwrap();
    let stream = format!("GET /api/v1/events HTTP/1.1\r\nHost: localhost\r\n{cookie}\r\n");
    idle.write_all(stream.as_bytes()).unwrap();
    running.signal(Signal::SIGTERM);
    running.wait().exits(143);
    assert!(TcpStream::connect(address).is_err());
}

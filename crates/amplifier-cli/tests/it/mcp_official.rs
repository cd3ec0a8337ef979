//! MCP against the programs of others: official servers, the official conformance suite, the official inspector.
//!
//! `cargo xtask mcp` runs these. They fetch what they need, in pinned versions, into the folder of build results, where its caches
//! are too; what cannot be fetched, or cannot be run here, is skipped, and said.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};

use serde_json::{Value, json};

use crate::kit::Place;

const NPM: [&str; 4] = [
    "@modelcontextprotocol/server-everything@2026.8.31",
    "@modelcontextprotocol/server-filesystem@2026.8.31",
    // The last one that runs on Node 20.
    "@modelcontextprotocol/conformance@0.1.13",
    "@modelcontextprotocol/inspector@2.12.0",
];
const PIP: &str = "mcp-server-git==2026.10.19";

/// Scenarios of the conformance suite for clients that need what this client does not do.
const NOT_SUPPORTED: [(&str, &str); 2] =
    [("auth/", "OAuth"), ("elicitation-", "questions of servers to a person")];

/// One fetches, the others wait.
static FETCHING: Mutex<()> = Mutex::new(());

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(name)
}

fn succeeds(command: &mut Command) -> bool {
    command.stdin(Stdio::null()).stdout(Stdio::null()).status().is_ok_and(|status| status.success())
}

/// The folder of the programs from npm; `None`, said, if they cannot be had.
fn npm(test: &str) -> Option<PathBuf> {
    let _one = FETCHING.lock().unwrap_or_else(PoisonError::into_inner);
    let dir = folder("mcp-npm");
    let stamp = dir.join(NPM.join(" ").replace('/', "_"));
    if !stamp.exists() {
        std::fs::create_dir_all(&dir).unwrap();
        let mut install = Command::new("npm");
        install
            .args(["install", "--no-audit", "--no-fund", "--loglevel=error", "--fetch-retries=1"])
            .args(["--fetch-timeout=60000", "--cache"])
            .arg(dir.join("cache"))
            .arg("--prefix")
            .arg(&dir)
            .args(NPM);
        if !succeeds(&mut install) {
            eprintln!("SKIPPED: {test}: npm could not fetch {}", NPM.join(", "));
            return None;
        }
        std::fs::write(stamp, "").unwrap();
    }
    Some(dir.join("node_modules/.bin"))
}

/// The git server from pip.
fn git_server(test: &str) -> Option<PathBuf> {
    let _one = FETCHING.lock().unwrap_or_else(PoisonError::into_inner);
    let dir = folder("mcp-venv");
    let program = dir.join("bin/mcp-server-git");
    let made = program.exists()
        || (succeeds(Command::new("python3").args(["-m", "venv"]).arg(&dir))
            && succeeds(
                Command::new(dir.join("bin/pip"))
                    .args(["install", "-q", "--timeout=30", "--retries=1", PIP])
                    .args(["--disable-pip-version-check", "--cache-dir"])
                    .arg(dir.join("cache")),
            ));
    if !made {
        eprintln!("SKIPPED: {test}: pip could not fetch {PIP}");
    }
    made.then_some(program)
}

/// A place whose bundle `b` calls these tools at once, of these servers.
fn calling(servers: &Value, calls: &[(&str, Value)]) -> Place {
    let place = Place::new();
    let calls: Vec<Value> =
        calls.iter().map(|(tool, given)| json!({"tool": tool, "arguments": given})).collect();
    let script =
        format!("- {{when: {{prompt: go}}, text: I ask., tool_calls: {}}}\n- {{text: over}}", json!(calls));
    // Behind the calls the same prompt stands, so that the first step is for one time alone.
    let script = script.replacen("{when: {prompt: go}", "{times: 1, when: {prompt: go}", 1);
    let tools = json!([{"module": "tool-mcp", "config": {"servers": servers}}]);
    place.bundle("b", &script, &format!("tools: {tools}"));
    place
}

#[test]
#[ignore = "fetches programs; `cargo xtask mcp` runs it"]
fn official_servers_lend_their_tools() {
    let test = "official_servers_lend_their_tools";
    let (Some(npm), Some(git)) = (npm(test), git_server(test)) else { return };
    let servers = json!({
        "everything": {"command": npm.join("mcp-server-everything")},
        "files": {"command": npm.join("mcp-server-filesystem"), "args": ["."]},
        "git": {"command": git, "startup_timeout": 60},
    });
    let place = calling(
        &servers,
        &[
            ("mcp__everything__echo", json!({"message": "hi there"})),
            ("mcp__everything__get-sum", json!({"a": 2, "b": 3})),
            ("mcp__everything__get-tiny-image", json!({})),
            ("mcp__everything__get-structured-content", json!({"location": "New York"})),
            ("mcp__everything__get-resource-links", json!({"count": 2})),
            ("mcp__everything__trigger-long-running-operation", json!({"duration": 1, "steps": 4})),
            ("mcp__files__read_text_file", json!({"path": "note.txt"})),
            ("mcp__files__read_text_file", json!({"path": "/etc/hosts"})),
            ("mcp__git__git_log", json!({"repo_path": "."})),
        ],
    );
    place.write("note.txt", "a note of the project");
    for line in ["init -q .", "-c user.name=a -c user.email=a@b commit -q --allow-empty -m the-first-commit"]
    {
        assert!(succeeds(Command::new("git").args(line.split(' ')).current_dir(place.project())));
    }
    // With nobody to ask: the bundle's servers may be used, in the sandbox where there is one.
    let done =
        place.run(&["run", "-B", "./.amplifier/bundles/b.yaml", "--output-format", "json-trace", "go"]).ok();
    let trace = done.json()["execution_trace"].clone();
    let told: Vec<(bool, String)> = trace
        .as_array()
        .unwrap()
        .iter()
        .map(|call| {
            let result = &call["result"];
            (result["success"] == true, result["output"].as_str().unwrap_or_default().to_owned())
        })
        .collect();
    let expect = [
        (true, "hi there"),
        (true, "is 5"),
        (true, "[image image/png, "),
        (true, "temperature"),
        (true, "[resource link demo://"),
        (true, "Long running operation completed"),
        (true, "a note of the project"),
        (false, "denied"),
        (true, "the-first-commit"),
    ];
    assert_eq!(told.len(), expect.len(), "{done:#?}");
    for ((success, said), (expected, part)) in told.iter().zip(expect) {
        assert!(*success == expected && said.contains(part), "{part}: {said}");
    }
}

#[test]
#[ignore = "fetches programs; `cargo xtask mcp` runs it"]
fn the_conformance_suite_finds_no_fault_in_the_client() {
    let test = "the_conformance_suite_finds_no_fault_in_the_client";
    let Some(npm) = npm(test) else { return };
    // Each scenario that there is passes, or is one that needs what is not supported.
    let passes = ["initialize", "tools_call", "sse-retry"];
    for scenario in client_scenarios(&npm) {
        let missing = NOT_SUPPORTED.iter().find(|(start, _)| scenario.starts_with(start));
        match missing {
            Some((_, what)) => eprintln!("{scenario}: not supported ({what})"),
            None => assert!(passes.contains(&scenario.as_str()), "{scenario} is new; does it pass?"),
        }
    }
    let servers = json!({"peer": {"url": "${PEER_URL}"}});
    let call = |tool: &'static str, given: Value| vec![(tool, given)];
    for (scenario, calls) in [
        ("initialize", Vec::new()),
        ("tools_call", call("mcp__peer__add_numbers", json!({"a": 5, "b": 3}))),
        ("sse-retry", call("mcp__peer__test_reconnection", json!({}))),
    ] {
        let place = calling(&servers, &calls);
        // The suite adds the address of its server as the last word.
        place.write(
            "client.sh",
            &format!(
                "PEER_URL=\"$1\" AMPLIFIER_HOME={} exec {} run -B ./.amplifier/bundles/b.yaml go </dev/null\n",
                place.home().display(),
                env!("CARGO_BIN_EXE_amplifier"),
            ),
        );
        let mut suite = Command::new(npm.join("conformance"));
        suite.args(["client", "--command", "sh client.sh", "--scenario", scenario, "--timeout", "60000"]);
        suite.env("HOME", place.home());
        let output = suite.current_dir(place.project()).stdin(Stdio::null()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        eprintln!(
            "{scenario}: {}",
            said.lines().find(|line| line.starts_with("Passed:")).unwrap_or("no result")
        );
        assert!(output.status.success() && said.contains(", 0 failed, 0 warnings"), "{scenario}: {said}");
        assert!(!said.contains("TIMED OUT") && !said.contains("FAILED"), "{scenario}: {said}");
    }
}

/// The scenarios for clients that the suite lists.
fn client_scenarios(npm: &Path) -> Vec<String> {
    let output = Command::new(npm.join("conformance")).arg("list").stdin(Stdio::null()).output().unwrap();
    let listed = String::from_utf8_lossy(&output.stdout).into_owned();
    let of_clients = listed.split_once("Client scenarios").unwrap_or_else(|| panic!("{listed}")).1;
    let names = of_clients.lines().filter_map(|line| line.trim().strip_prefix("- "));
    let names: Vec<String> = names.map(|name| name.trim().to_owned()).collect();
    assert!(names.len() > 3, "{listed}");
    names
}

#[test]
#[ignore = "fetches programs; `cargo xtask mcp` runs it"]
fn the_example_runs_with_its_official_server() {
    if npm("the_example_runs_with_its_official_server").is_none() {
        return;
    }
    let temporary = folder("mcp-tmp");
    std::fs::create_dir_all(&temporary).unwrap();
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/examples/mcp/bundle.yaml");
    let place = Place::new();
    let line = ["run", "-B", example.to_str().unwrap(), "--permission-mode", "dontAsk", "What is 2 and 3?"];
    let done = place.call(&line).env("TMPDIR", temporary.to_str().unwrap()).patient().done().ok();
    assert!(done.stdout.contains("The server says: ") && done.stdout.contains("is 5"), "{done:#?}");
}

#[test]
#[ignore = "fetches programs; `cargo xtask mcp` runs it"]
fn the_inspector_drives_the_server() {
    let Some(npm) = npm("the_inspector_drives_the_server") else { return };
    let place = Place::scripted("- {text: 'answer: {{prompt}}'}");
    let inspect = |words: &[&str], code: i32| {
        let program = npm.join("mcp-inspector");
        let line = [
            &[program.to_str().unwrap(), "--cli", env!("CARGO_BIN_EXE_amplifier"), "mcp", "serve", "-B", "b"],
            words,
        ];
        place
            .call_program(&line.concat())
            .env("AMPLIFIER_HOME", place.home().to_str().unwrap())
            .done()
            .code(code)
            .json()
    };
    let tools = inspect(&["--method", "tools/list"], 0);
    assert_eq!(tools["tools"].as_array().unwrap().len(), 12);
    let told =
        inspect(&["--method", "tools/call", "--tool-name", "amplifier", "--tool-arg", "prompt=hello"], 0);
    assert_eq!(told["structuredContent"]["response"], "answer: hello", "{told}");
    // Its own exit code for a result that is an error.
    let told =
        inspect(&["--method", "tools/call", "--tool-name", "status", "--tool-arg", "session_id=ffff"], 5);
    assert_eq!(told["isError"], true, "{told}");
}

//! What a person sees: the pages in a real browser, in both themes, on a desk and on a phone.
//!
//! Not in the usual run: `cargo xtask pages`. Without a browser it says that it was skipped.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use amplifier_tests::fake::Step;
use amplifier_tests::gate::Gate;
use amplifier_tests::skipped;
use amplifier_web::Role;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Command;

use super::stage::{Served, config};

const BROWSERS: [&str; 5] =
    ["chromium-headless-shell", "chromium", "chromium-browser", "google-chrome", "headless_shell"];
/// Longer than any page takes.
const PATIENCE: Duration = Duration::from_secs(60);

fn browser() -> Option<PathBuf> {
    let given = std::env::var_os("AMPLIFIER_TEST_BROWSER").map(PathBuf::from);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).flat_map(|folder| BROWSERS.map(|name| folder.join(name)));
    given.into_iter().chain(found).find(|program| program.is_file())
}

/// A project in the middle of its work.
async fn scene(served: &Served) -> (String, Gate) {
    let issue = |title: &str, kind: &str, priority: u8| json!({"title": title, "issue_type": kind, "priority": priority, "description": "What is to be done, and why."});
    let login = served.open(issue("Let people log in with a passkey", "feature", 1)).await;
    let crash = served.open(issue("Crash when the list of projects is empty", "bug", 0)).await;
    let docs =
        served.open(issue("Describe the limits of the queue <and how to change them>", "chore", 3)).await;
    let flaky = served
        .open(issue("Find out why the nightly test of the importer fails now and then", "task", 2))
        .await;
    for n in 0..5 {
        let mut next = issue(&format!("Port of module {n}"), "task", 2);
        next["depends_on"] = json!([login]);
        served.open(next).await;
    }
    served.patch(&login, &json!({"status": "in_progress"})).await.json(200);
    served
        .act(&login, "comment", json!({"text": "The library that we have does this already."}))
        .await
        .json(200);
    let asks = json!({"status": "pending_user_input", "blocking_notes": "Should old passwords go on working, or does everybody need a passkey at once?"});
    served.patch(&login, &asks).await.json(200);
    served.patch(&crash, &json!({"status": "in_progress"})).await.json(200);
    served
        .patch(&flaky, &json!({"status": "failed", "reason": "3 attempts: the shell command timed out"}))
        .await
        .json(200);
    served.patch(&docs, &json!({"status": "completed", "result": "docs/queue.md"})).await.json(200);
    served.manager.start(config("coding", &json!({"pool_size": 4}))).await.unwrap();
    served.manager.start(config("research", &json!({"pool_size": 2}))).await.unwrap();
    served.post("/api/v1/background/research/pause", &json!({})).await.json(200);
    served.post("/api/v1/background/night/fire", &Value::Null).await.json(202);
    served.until("/api/v1/runs?background=night", |said| said["runs"][0]["state"] == "completed").await;
    let gate = Gate::new();
    for _ in 0..2 {
        served.stage.brain.then(Step::Wait("done".into(), gate.clone()));
        served.post("/api/v1/background/coding/fire", &json!({"issue": 1})).await.json(202);
    }
    gate.reached(2).await;
    (login, gate)
}

struct Shot<'a> {
    name: &'a str,
    page: &'a str,
    dark: bool,
    size: (u32, u32),
}

/// A way to the listener on which each request carries this cookie: the browser takes a picture of the first
/// page that it is given, and so cannot log in before.
async fn logged_in(served: &Served) -> SocketAddr {
    let (cookie, to) = (served.log_in(Role::Write).await, served.address());
    let door = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = door.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut near, _)) = door.accept().await {
            let cookie = cookie.clone();
            tokio::spawn(async move {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n") {
                    let Ok(byte) = near.read_u8().await else { return };
                    head.push(byte);
                }
                head.extend_from_slice(format!("{cookie}Connection: close\r\n").as_bytes());
                let mut far = TcpStream::connect(to).await.unwrap();
                if far.write_all(&head).await.is_ok() {
                    let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
                }
            });
        }
    });
    address
}

async fn take(program: &Path, at: SocketAddr, folder: &Path, shot: &Shot<'_>) -> Vec<u8> {
    let url = format!("http://{at}{}", shot.page);
    let file = folder.join(format!("{}.png", shot.name));
    // 0 is dark, 1 is light.
    let theme = format!("--blink-settings=preferredColorScheme={}", u8::from(!shot.dark));
    let child = Command::new(program)
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", &theme])
        .arg(format!("--window-size={},{}", shot.size.0, shot.size.1))
        .arg(format!("--screenshot={}", file.display()))
        .arg(&url)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .status();
    let status = tokio::time::timeout(PATIENCE, child).await.expect("a picture in time").unwrap();
    assert!(status.success(), "{}: {status}", shot.name);
    std::fs::read(file).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a browser; `cargo xtask pages` runs it"]
async fn pages_in_a_browser() {
    let Some(program) = browser() else {
        return skipped(
            "pages_in_a_browser",
            "no Chromium; install it, or name one in AMPLIFIER_TEST_BROWSER",
        );
    };
    let served = Served::new().await;
    let (asking, gate) = scene(&served).await;
    let folder = std::env::var_os("AMPLIFIER_PICTURES").map_or_else(
        || std::env::temp_dir().join(format!("amplifier-pages-{}", std::process::id())),
        PathBuf::from,
    );
    std::fs::create_dir_all(&folder).unwrap();
    let at = logged_in(&served).await;
    let issue = format!("/issues/{asking}");
    let (desk, phone) = ((1280, 900), (390, 844));
    let mut known: Vec<Vec<u8>> = Vec::new();
    for (name, page) in [("overview", "/"), ("issue", &issue), ("pools", "/pools"), ("runs", "/runs")] {
        for (dark, theme) in [(false, "light"), (true, "dark")] {
            for (size, width) in [(desk, "desk"), (phone, "phone")] {
                let name = format!("{name}-{theme}-{width}");
                let picture = take(&program, at, &folder, &Shot { name: &name, page, dark, size }).await;
                assert!(picture.starts_with(b"\x89PNG"), "{name}");
                assert!(picture.len() > 8_000, "{name} is as good as empty: {} bytes", picture.len());
                assert!(!known.contains(&picture), "{name} looks like another one");
                known.push(picture);
            }
        }
    }
    eprintln!("pictures: {}", folder.display());
    gate.open();
    served.end().await;
}

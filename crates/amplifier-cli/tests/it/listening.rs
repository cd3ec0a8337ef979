//! `amplifier background start --listen` and `notify`, from the built binary.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use amplifier_tests::receiver::{Received, Receiver};
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::kit::{Place, Running};

const HOOK: &str = "a secret of this test";
/// The bytes `0123456789abcdef01234567`, as Standard Webhooks write them.
const NOTIFY: &str = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3";

/// A trusted project with this `background.yaml`.
fn place(background: &str) -> Place {
    let place = Place::scripted("- text: done");
    place.write(".amplifier/background.yaml", background);
    place.run(&["trust"]).ok();
    place
}

fn start(place: &Place, more: &[&str]) -> Running {
    let call = place.call(&[&["background", "start", "--json"], more].concat());
    call.env("HOOK_SECRET", HOOK).env("NOTIFY_SECRET", NOTIFY).start()
}

fn address(running: &mut Running) -> String {
    let said = running.until(|event| event["type"] == "listening");
    said["address"].as_str().unwrap().to_owned()
}

/// One request, its status and its body.
fn ask(address: &str, request: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

fn post(path: &str, host: &str, key: &str, secret: &str) -> String {
    format!(
        "POST /hooks/{path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {secret}\r\nIdempotency-Key: {key}\r\n\
         Connection: close\r\nContent-Length: 9\r\n\r\n{{\"job\":7}}"
    )
}

const WEBHOOK: &str = "background_sessions:\n  - name: jobs\n    bundle: b\n    triggers:\n      - type: webhook\n        \
                       config: {path: jobs, scheme: bearer, secret_env: HOOK_SECRET}\n";

#[test]
fn a_webhook_starts_a_session_once_and_nothing_listens_without_being_asked() {
    let place = place(&format!("{WEBHOOK}allowed_hosts: [hooks.example.com]\n"));
    let mut running = start(&place, &["--listen", "127.0.0.1:0", "--allow-host", "other.example.com"]);
    let address = address(&mut running);
    let health = "GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    assert_eq!(ask(&address, health), (200, "ok\n".to_owned()));
    assert_eq!(ask(&address, &post("jobs", "localhost", "1", "wrong-secret")).0, 401);
    assert_eq!(ask(&address, &post("jobs", "evil.example.com", "1", HOOK)).0, 421);
    let (status, first) = ask(&address, &post("jobs", "hooks.example.com", "1", HOOK));
    assert_eq!(status, 202);
    let (status, again) = ask(&address, &post("jobs", "other.example.com", "1", HOOK));
    assert_eq!((status, again), (200, first));
    let ended = running.until(|event| event["session_id"].is_string() && event["success"] == true);
    assert!(ended["session_id"].is_string());
    running.signal(Signal::SIGTERM);
    assert_eq!(running.done().code, Some(143));
    assert_eq!(place.sessions().len(), 1);
    assert!(TcpStream::connect(&address).is_err());
    // Without --listen a person is told that nobody can call.
    let mut quiet = start(&place, &[]);
    quiet.until_said("nobody can call the webhooks (jobs)");
    quiet.close_stdout();
    quiet.signal(Signal::SIGTERM);
    quiet.done();
}

#[test]
fn what_is_wrong_with_webhooks_or_notifications_is_told_and_nothing_starts() {
    let start = |place: &Place, more: &[&str]| {
        let done = place.call(&[&["background", "start"], more].concat()).env("HOOK_SECRET", HOOK).done();
        assert_eq!(done.code, Some(2), "{}", done.stderr);
        done.stderr
    };
    let twice =
        format!("{WEBHOOK}{}", WEBHOOK.split_once('\n').unwrap().1.replace("name: jobs", "name: more"));
    let told = start(&place(&twice), &[]);
    assert!(
        told.contains("`jobs`") && told.contains("session jobs") && told.contains("session more"),
        "{told}"
    );
    let told = start(&place(&WEBHOOK.replace("HOOK_SECRET", "NO_SECRET")), &[]);
    assert!(told.contains("NO_SECRET"), "{told}");
    let bad = "notify:\n  - command: [notify-send, '{nothing}']\n  - url: ftp://x\n    secret_env: A\nallowed_hosts: 7\n";
    let told = start(&place(bad), &[]);
    for part in
        ["notify[0].command[1]", "notify[1].url", "background.yaml:2", "background.yaml:3", "allowed_hosts"]
    {
        assert!(told.contains(part), "{part} in {told}");
    }
    let unset = "notify:\n  - url: https://example.com\n    secret_env: NO_NOTIFY\n  - command: [no-such-program-here]\n";
    let told = start(&place(unset), &[]);
    assert!(told.contains("`NO_NOTIFY` is not set") && told.contains("no-such-program-here"), "{told}");
    let plain = place(WEBHOOK);
    assert!(start(&plain, &["--listen", "nonsense"]).contains("127.0.0.1:8733"));
    assert!(
        start(&plain, &["--listen", "127.0.0.1:0", "--allow-host", "https://x"]).contains("allowed_hosts")
    );
}

/// The signature as the specification says, by a program that shares no code with this one.
fn is_signed(request: &Received) -> Option<bool> {
    let (id, time) = (request.header("webhook-id"), request.header("webhook-timestamp"));
    let mut openssl = std::process::Command::new("openssl")
        .args(["dgst", "-sha256", "-binary", "-hmac", "0123456789abcdef01234567"])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .ok()?;
    openssl.stdin.take()?.write_all(format!("{id}.{time}.{}", request.body).as_bytes()).ok()?;
    let digest = openssl.wait_with_output().ok()?.stdout;
    Some(request.header("webhook-signature") == format!("v1,{}", base64(&digest)))
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let group = |chunk: &[u8]| {
        let number = (0..3).fold(0_usize, |sum, at| sum << 8 | usize::from(*chunk.get(at).unwrap_or(&0)));
        let digit = |at: usize| char::from(DIGITS[number >> (18 - 6 * at) & 63]);
        (0..4).map(|at| if at <= chunk.len() { digit(at) } else { '=' }).collect::<String>()
    };
    bytes.chunks(3).map(group).collect()
}

fn told_of(receiver: &Receiver, more: &str) -> String {
    let url = receiver.url();
    format!("notify:\n  - events: [\"work:*\"]\n    url: {url}\n    secret_env: NOTIFY_SECRET\n{more}")
}

#[test]
fn a_receiver_that_fails_twice_gets_the_event_signed_with_one_id() {
    let receiver = Receiver::start(&["500 No", "503 No"]);
    let out = "  - events: [\"work:*\"]\n    command: [sh, -c, 'cat > told; echo \"$1\" >> told; env >> told; echo end >> told', sh, '{summary}']\n";
    let place = place(&told_of(&receiver, out));
    let mut running = start(&place, &[]);
    running.until(|event| event["type"] == "ready");
    place.run(&["event", "emit", "work:done", "{\"message\": \"it works\"}"]).ok();
    let all = receiver.wait(3);
    let ids: Vec<&str> = all.iter().map(|request| request.header("webhook-id")).collect();
    assert!(ids.iter().all(|id| *id == ids[0] && !id.is_empty()), "{ids:?}");
    for request in &all {
        match is_signed(request) {
            Some(signed) => assert!(signed, "{request:?}"),
            None => eprintln!("SKIPPED: the check of the signature: there is no openssl"),
        }
    }
    let event: Value = serde_json::from_str(&all[2].body).unwrap();
    assert_eq!((event["id"].as_str(), event["type"].as_str()), (Some(ids[0]), Some("work:done")));
    let told = place.project().join("told");
    let text = || std::fs::read_to_string(&told).unwrap_or_default();
    let end = std::time::Instant::now() + Duration::from_secs(20);
    while !text().ends_with("end\n") && std::time::Instant::now() < end {
        std::thread::sleep(Duration::from_millis(5));
    }
    let text = text();
    let mut lines = text.lines();
    assert_eq!(lines.next().unwrap(), all[2].body);
    assert_eq!(lines.next(), Some("work:done: it works"));
    let env: BTreeMap<&str, &str> = lines.filter_map(|line| line.split_once('=')).collect();
    assert!(env.contains_key("PATH") && env.contains_key("AMPLIFIER_HOME"), "{env:?}");
    assert!(!env.contains_key("NOTIFY_SECRET") && !env.contains_key("HOOK_SECRET"), "{env:?}");
    running.signal(Signal::SIGTERM);
    assert_eq!(running.done().code, Some(143));
}

/// The receiver has it, the process is killed before it is acknowledged; the next one delivers it again.
#[test]
fn a_kill_between_delivery_and_acknowledgement_delivers_again_with_the_same_id() {
    let receiver = Receiver::start(&[""]);
    let place = place(&told_of(&receiver, ""));
    let mut running = start(&place, &[]);
    running.until(|event| event["type"] == "ready");
    place.run(&["event", "emit", "work:done"]).ok();
    receiver.wait(1);
    running.signal(Signal::SIGKILL);
    running.done();
    let mut second = start(&place, &[]);
    second.until(|event| event["type"] == "ready");
    let all = receiver.wait(2);
    assert_eq!(all[0].header("webhook-id"), all[1].header("webhook-id"));
    assert_eq!(all[0].body, all[1].body);
    second.signal(Signal::SIGTERM);
    second.done();
    assert_eq!(receiver.all().len(), 2);
}

#[test]
fn a_directory_that_nobody_trusts_tells_nobody_and_allows_no_host() {
    let receiver = Receiver::start(&[]);
    let place = Place::scripted("- text: done");
    place.write(
        ".amplifier/background.yaml",
        &format!("{}allowed_hosts: [a.example]\n", told_of(&receiver, "")),
    );
    let mut running = start(&place, &["--listen", "127.0.0.1:0"]);
    let address = address(&mut running);
    place.run(&["event", "emit", "work:done"]).ok();
    let health = "GET /healthz HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n";
    assert_eq!(ask(&address, health).0, 421);
    running.signal(Signal::SIGTERM);
    let done = running.done();
    for what in ["notify does not count", "allowed_hosts does not count"] {
        assert!(done.stderr.contains(what), "{}", done.stderr);
    }
    assert!(receiver.all().is_empty());
}

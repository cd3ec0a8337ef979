//! `web_fetch` in a session: what a person allows, what a stranger's project cannot.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::kit::Place;

/// A page on loopback; its port, and how often it was asked for.
fn page() -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (port, count) = (listener.local_addr().unwrap().port(), Arc::new(AtomicUsize::new(0)));
    let asked = Arc::clone(&count);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
            let _ = lines.take_while(|line| !line.is_empty()).count();
            asked.fetch_add(1, Ordering::SeqCst);
            let body = "<h1>Lab</h1><p>All <b>green</b></p>";
            let head = format!("Content-Type: text/html\r\nContent-Length: {}", body.len());
            let _ = write!(stream, "HTTP/1.1 200 OK\r\n{head}\r\nConnection: close\r\n\r\n{body}");
        }
    });
    (port, count)
}

fn script(port: u16) -> String {
    format!(
        "- {{when: {{after_tool: web_fetch}}, text: 'got {{{{result}}}}'}}\n\
         - {{tool_calls: [{{tool: web_fetch, arguments: {{url: 'http://127.0.0.1:{port}/'}}}}]}}"
    )
}

const PERMITTED: &str = "permissions: {allow: ['network(127.0.0.1)']}\n";

#[test]
fn a_service_of_ones_own_is_fetched_where_the_users_settings_name_it() {
    let place = Place::new();
    let (port, asked) = page();
    place.bundle("b", &script(port), "tools: [{module: tool-web}]");
    place.write_home("settings.yaml", PERMITTED);
    let refused = place.run(&["run", "-B", "b", "go"]).ok().stdout;
    assert!(refused.contains("not on the public internet") && refused.contains("allow_hosts"), "{refused}");
    assert_eq!(asked.load(Ordering::SeqCst), 0);
    let own = format!("{PERMITTED}overrides: {{tool-web: {{config: {{allow_hosts: [127.0.0.1]}}}}}}\n");
    place.write_home("settings.yaml", &own);
    // A proxy of the environment would take the request elsewhere.
    let call = place.call(&["run", "-B", "b", "go"]).env("HTTP_PROXY", "http://127.0.0.1:9/");
    let done = call.env("http_proxy", "http://127.0.0.1:9/").done().ok();
    assert!(done.stdout.contains("# Lab\n\nAll **green**\n</web_page>"), "{}", done.stdout);
    assert_eq!(asked.load(Ordering::SeqCst), 1);
}

#[test]
fn without_permission_nothing_is_asked_for() {
    let place = Place::new();
    let (port, asked) = page();
    place.bundle("b", &script(port), "tools: [{module: tool-web}]");
    place.write_home("settings.yaml", "overrides: {tool-web: {config: {allow_private: true}}}\n");
    let refused = place.run(&["run", "-B", "b", "go"]).code(4).stdout;
    assert!(refused.contains("web_fetch may not connect to 127.0.0.1"), "{refused}");
    assert_eq!(asked.load(Ordering::SeqCst), 0);
}

#[test]
fn a_project_that_nobody_trusts_opens_no_host_of_the_users() {
    let place = Place::new();
    let (port, asked) = page();
    let tools = "tools: [{module: tool-web, config: {allow_hosts: [127.0.0.1], allow_private: true}}]";
    place.bundle("b", &script(port), tools);
    place.write_home("settings.yaml", PERMITTED);
    let told = "allow_hosts of tool-web, allow_private of tool-web";
    let refused = place.run(&["run", "-B", "b", "go"]).ok().says(&[told]).stdout;
    assert!(refused.contains("not on the public internet"), "{refused}");
    place.bundle("plain", &script(port), "tools: [{module: tool-web}]");
    place.write(".amplifier/settings.yaml", "overrides: {tool-web: {config: {allow_private: true}}}\n");
    let refused = place.run(&["run", "-B", "plain", "go"]).ok().says(&["allow_private of tool-web"]).stdout;
    assert!(refused.contains("not on the public internet"), "{refused}");
    assert_eq!(asked.load(Ordering::SeqCst), 0);
    place.run(&["trust"]).ok();
    assert!(place.run(&["run", "-B", "b", "go"]).ok().stdout.contains("# Lab"));
    assert_eq!(asked.load(Ordering::SeqCst), 1);
}

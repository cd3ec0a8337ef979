//! Model services over HTTP, as they answer and as they fail.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc;
use std::thread;

use serde_json::{Value, json};

use crate::kit::Place;

/// A server that gives these answers in order, the last one again and again, and tells the requests.
pub(crate) fn serve(answers: Vec<String>) -> (String, mpsc::Receiver<Value>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}/v1", listener.local_addr().unwrap());
    let (send, requests) = mpsc::channel();
    thread::spawn(move || {
        let last = answers.len() - 1;
        for (count, stream) in listener.incoming().enumerate() {
            let mut stream = stream.unwrap();
            let request = read(&stream);
            // The client may hang up on an answer; that is its right.
            let _ = stream.write_all(answers[count.min(last)].as_bytes());
            if send.send(request).is_err() {
                return;
            }
        }
    });
    (address, requests)
}

fn read(stream: &TcpStream) -> Value {
    let mut reader = BufReader::new(stream);
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        if line.trim().is_empty() {
            break;
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().unwrap();
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    serde_json::from_slice(&body).unwrap_or(Value::Null)
}

pub(crate) fn answer(status: &str, kind: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
    )
}

fn chunk(delta: Value, finish: Option<&str>) -> String {
    let choice = json!({"index": 0, "delta": delta, "finish_reason": finish});
    format!(
        "data: {}\n\n",
        json!({"id": "1", "object": "chat.completion.chunk", "model": "m", "choices": [choice]})
    )
}

fn streamed(chunks: &[String], end: &str) -> String {
    answer("200 OK", "text/event-stream", &(chunks.concat() + end))
}

pub(crate) fn text(text: &str) -> String {
    let chunks = [chunk(json!({"role": "assistant", "content": text}), None), chunk(json!({}), Some("stop"))];
    streamed(&chunks, "data: [DONE]\n\n")
}

fn place(base_url: &str) -> Place {
    let place = Place::new();
    place.write_home("settings.yaml", "retry: {max_attempts: 2, first_wait: 1ms}\n");
    let text = format!(
        "bundle: {{name: b}}\nsession: {{orchestrator: loop-streaming, context: context-simple}}\n\
         providers: [{{module: provider-openai-compatible, config: {{base_url: '{base_url}', default_model: m}}}}]\n\
         tools: [{{module: tool-filesystem}}]\n"
    );
    place.write(".amplifier/bundles/b.yaml", &text);
    place
}

#[test]
fn a_tool_is_called_over_http_and_the_session_goes_on() {
    let arguments = json!({"path": "made.txt", "content": "by a tool"}).to_string();
    let call = json!({"index": 0, "id": "c1", "type": "function", "function": {"name": "write_file", "arguments": arguments}});
    let calls = [
        chunk(json!({"role": "assistant", "tool_calls": [call]}), None),
        chunk(json!({}), Some("tool_calls")),
    ];
    let (url, requests) = serve(vec![streamed(&calls, "data: [DONE]\n\n"), text("written"), text("again")]);
    let place = place(&url);
    let done = place.run(&["run", "-B", "b", "write"]).ok();
    assert_eq!((done.stdout.as_str(), done.stderr.as_str()), ("written\n", ""), "no script, no notice");
    assert_eq!(std::fs::read_to_string(place.project().join("made.txt")).unwrap(), "by a tool");
    assert_eq!(place.run(&["continue", "more"]).ok().stdout, "again\n");
    let third = requests.iter().nth(2).unwrap();
    let roles: Vec<&str> =
        third["messages"].as_array().unwrap().iter().map(|m| m["role"].as_str().unwrap()).collect();
    assert_eq!(&roles[roles.len() - 5..], ["user", "assistant", "tool", "assistant", "user"], "{third}");
}

#[test]
fn each_failure_of_a_service_is_one_clear_error() {
    let check = |answers: Vec<String>, code: i32, kind: &str, parts: &[&str]| {
        let (url, _requests) = serve(answers);
        let place = place(&url);
        let done = place.run(&["run", "-B", "b", "--output-format", "json", "hi"]).code(code).says(parts);
        assert_eq!(done.json()["error_type"], kind, "{done:#?}");
        assert_eq!(done.stderr.matches("error: ").count(), 1, "{done:#?}");
        let shown = place.run(&["session", "show", &place.sessions()[0], "--json"]).ok().json();
        assert_eq!(
            (&shown["status"], &shown["messages"]),
            (&json!("failed"), &json!(1)),
            "the prompt is kept"
        );
    };
    let error = |status: &str, message: &str| {
        answer(status, "application/json", &json!({"error": {"message": message}}).to_string())
    };
    check(vec![error("401 Unauthorized", "bad key")], 1, "provider", &["401"]);
    check(vec![error("404 Not Found", "no such model")], 1, "provider", &["404"]);
    check(vec![error("503 Service Unavailable", "later")], 1, "provider", &["503", "trying again"]);
    let cut = streamed(&[chunk(json!({"role": "assistant", "content": "half"}), None)], "");
    check(vec![cut], 1, "provider", &["trying again"]);
}

#[test]
fn a_passing_failure_is_tried_again_and_no_half_answer_is_kept() {
    let cut = streamed(&[chunk(json!({"role": "assistant", "content": "half"}), None)], "");
    let (url, _requests) = serve(vec![cut, text("whole")]);
    assert_eq!(place(&url).run(&["run", "-B", "b", "hi"]).ok().stdout, "whole\n");
    let limited =
        "HTTP/1.1 429 Too Many Requests\r\nretry-after: 0\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
    let (url, _requests) = serve(vec![limited.to_owned(), text("after a while")]);
    assert_eq!(place(&url).run(&["run", "-B", "b", "hi"]).ok().stdout, "after a while\n");
}

#[test]
fn nobody_at_the_address_is_told_with_the_address() {
    let place = place("http://127.0.0.1:9/v1");
    place.run(&["run", "-B", "b", "hi"]).code(1).says(&["127.0.0.1:9", "amplifier run --resume"]);
}

//! An MCP server over standard streams that behaves as it is told to, written without any library of the protocol.
//!
//! Guarantees: it ends when its input does, but for `--stubborn`. Never here: a second thread.
#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr, clippy::disallowed_methods)]
#![allow(clippy::disallowed_types, reason = "a program of the tests: it reads and writes what it is told to")]

use std::io::Write;
use std::time::Duration;

use serde_json::{Value, json};

/// A PNG of one pixel.
const PIXEL: &str =
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";

struct Server {
    flags: Vec<String>,
    /// Methods that came, one a line.
    log: Option<std::fs::File>,
    more_tools: bool,
}

fn main() {
    let flags: Vec<String> = std::env::args().skip(1).collect();
    let value =
        |name: &str| flags.iter().position(|flag| flag == name).and_then(|at| flags.get(at + 1).cloned());
    let log =
        value("--log").map(|path| std::fs::OpenOptions::new().create(true).append(true).open(path).unwrap());
    if let Some(count) = value("--count") {
        let mut file = std::fs::OpenOptions::new().create(true).append(true).open(count).unwrap();
        writeln!(file, "{}", std::process::id()).unwrap();
    }
    if let Some(millis) = value("--slow-start") {
        std::thread::sleep(Duration::from_millis(millis.parse().unwrap()));
    }
    let mut server = Server { flags, log, more_tools: false };
    if server.has("--die") {
        eprintln!("cannot find module 'left-pad'");
        std::process::exit(3);
    }
    if server.has("--chatter") {
        println!("Server is starting up, please wait");
    }
    let mut line = String::new();
    // Not locked for longer: a tool reads an answer in between.
    while std::io::stdin().read_line(&mut line).is_ok_and(|read| read > 0) {
        let line = std::mem::take(&mut line);
        if let Ok(message) = serde_json::from_str::<Value>(&line) {
            server.hear(&message);
        }
    }
    if server.has("--stubborn") {
        loop {
            std::thread::sleep(Duration::from_secs(1));
        }
    }
}

fn write(message: &Value) {
    println!("{message}");
    std::io::stdout().flush().unwrap();
}

fn text(text: impl Into<String>) -> Value {
    json!({"content": [{"type": "text", "text": text.into()}]})
}

impl Server {
    fn has(&self, flag: &str) -> bool {
        self.flags.iter().any(|given| given == flag)
    }

    fn hear(&mut self, message: &Value) {
        let method = message["method"].as_str().unwrap_or("answer");
        if let Some(log) = &mut self.log {
            writeln!(log, "{method} {}", message["params"]).unwrap();
        }
        let id = &message["id"];
        if id.is_null() {
            return;
        }
        let answer = match method {
            "initialize" if self.has("--hang") => return,
            "initialize" if self.has("--modern") => {
                Err((-32601, "there is no handshake any more".to_owned()))
            }
            "initialize" => {
                let wanted = message["params"]["protocolVersion"].as_str().unwrap();
                let version = if self.has("--old") { "2024-11-05" } else { wanted };
                Ok(json!({
                    "protocolVersion": version, "capabilities": {"tools": {"listChanged": true}},
                    "serverInfo": {"name": "fake", "version": "1"},
                }))
            }
            "server/discover" => Ok(json!({
                "resultType": "complete", "supportedVersions": ["2026-07-28"], "capabilities": {"tools": {}},
                "serverInfo": {"name": "fake", "version": "1"}, "ttlMs": 0, "cacheScope": "private",
            })),
            "tools/list" => Ok(self.list(message["params"]["cursor"].as_str())),
            "tools/call" => match self.call(&message["params"], id) {
                Some(result) => Ok(result),
                None => return,
            },
            "ping" => Ok(json!({})),
            _ => Err((-32601, format!("no method {method}"))),
        };
        match answer {
            Ok(result) => write(&json!({"jsonrpc": "2.0", "id": id, "result": result})),
            Err((code, said)) => {
                write(&json!({"jsonrpc": "2.0", "id": id, "error": {"code": code, "message": said}}));
            }
        }
    }

    /// Two pages, so that a client must turn them.
    fn list(&self, cursor: Option<&str>) -> Value {
        let tool = |name: &str| {
            json!({"name": name, "description": format!("does {name}"), "inputSchema": {"type": "object"},
                   "annotations": {"readOnlyHint": true}})
        };
        match cursor {
            None => {
                let names = ["echo", "env", "cwd", "write", "image", "fail", "data"];
                json!({"tools": names.map(tool), "nextCursor": "two"})
            }
            Some(_) => {
                let names =
                    ["big", "die", "hang", "broken", "long", "flood", "progress", "change", "odd", "roots"];
                let mut tools: Vec<Value> = names.map(tool).to_vec();
                tools.push(json!({"name": "bad", "inputSchema": "a text"}));
                tools.push(json!({"name": "worse", "inputSchema": {"type": "object", "properties": [1]}}));
                if self.more_tools {
                    tools.push(tool("more"));
                }
                json!({ "tools": tools })
            }
        }
    }

    /// `None`: it does not answer.
    fn call(&mut self, params: &Value, id: &Value) -> Option<Value> {
        let arguments = &params["arguments"];
        let given = |key: &str| arguments[key].as_str().unwrap_or_default().to_owned();
        let token = &params["_meta"]["progressToken"];
        Some(match params["name"].as_str().unwrap_or_default() {
            "echo" => text(given("text")),
            "env" => text(std::env::var(given("name")).unwrap_or_else(|_| "(not set)".into())),
            "cwd" => text(std::env::current_dir().unwrap().display().to_string()),
            "write" => match std::fs::write(given("path"), "written") {
                Ok(()) => text("written"),
                Err(error) => text(format!("not written: {error}")),
            },
            "image" => json!({"content": [{"type": "image", "data": PIXEL, "mimeType": "image/png"}]}),
            "fail" => json!({"content": [{"type": "text", "text": "it went wrong"}], "isError": true}),
            "data" => json!({"content": [], "structuredContent": {"answer": 42}}),
            "big" => text(format!(
                "begin{}end",
                "x".repeat(arguments["mb"].as_u64().unwrap() as usize * 1_000_000)
            )),
            "die" => std::process::exit(7),
            "hang" => return None,
            "broken" => {
                println!("{{\"jsonrpc\": \"2.0\", \"id\": {id}, \"result\": {{\"content\": [");
                return None;
            }
            "long" => {
                // More than any message may have, without a line's end.
                let part = "x".repeat(1 << 20);
                let mut out = std::io::stdout().lock();
                while out.write_all(part.as_bytes()).is_ok() {}
                return None;
            }
            "flood" => {
                for step in 0..50_000 {
                    write(&json!({"jsonrpc": "2.0", "method": "notifications/progress",
                                  "params": {"progressToken": token, "progress": step}}));
                    write(&json!({"jsonrpc": "2.0", "method": "notifications/message",
                                  "params": {"level": "info", "data": "x"}}));
                }
                text("flooded")
            }
            "progress" => {
                for step in 1..=arguments["steps"].as_u64().unwrap() {
                    std::thread::sleep(Duration::from_millis(arguments["ms"].as_u64().unwrap()));
                    write(&json!({"jsonrpc": "2.0", "method": "notifications/progress",
                                  "params": {"progressToken": token, "progress": step, "total": 9, "message": "at work"}}));
                }
                text("done")
            }
            "change" => {
                self.more_tools = true;
                write(&json!({"jsonrpc": "2.0", "method": "notifications/tools/list_changed"}));
                text("changed")
            }
            "odd" => json!({"nothing": "that anybody knows"}),
            "roots" => {
                write(&json!({"jsonrpc": "2.0", "id": "r1", "method": "roots/list"}));
                let mut line = String::new();
                std::io::stdin().read_line(&mut line).unwrap();
                text(line)
            }
            "more" => text("more"),
            other => {
                json!({"content": [{"type": "text", "text": format!("no tool {other}")}], "isError": true})
            }
        })
    }
}

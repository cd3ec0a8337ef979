//! Many readers of a daemon's event stream, over real sockets.
//!
//! Guarantees: a time is from before a request that makes an event until a reader has its line; every reader gets
//! every event, or the measurement fails.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::mpsc::{Sender, channel};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::error::Error;

/// What a reader waits for at most.
const PATIENCE: Duration = Duration::from_secs(10);
/// What marks the text of a comment.
const MARK: &str = "sent-after-us:";

/// Whom to ask, and as whom.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) address: String,
    pub(super) token: String,
}

impl Place {
    fn call(&self, line: &str, body: Option<&Value>) -> Result<TcpStream, Error> {
        let mut stream = TcpStream::connect(&self.address).map_err(failed(line))?;
        stream.set_read_timeout(Some(PATIENCE)).map_err(failed(line))?;
        stream.set_nodelay(true).map_err(failed(line))?;
        self.ask(&mut stream, line, body)?;
        Ok(stream)
    }

    fn ask(&self, stream: &mut TcpStream, line: &str, body: Option<&Value>) -> Result<(), Error> {
        let body = body.map(Value::to_string).unwrap_or_default();
        let request = format!(
            "{line} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{body}",
            self.token,
            body.len()
        );
        stream.write_all(request.as_bytes()).map_err(failed(line))
    }

    /// Says something of an issue, `count` times at this distance, while so many read: milliseconds from each
    /// request to each reader, sorted.
    pub(super) fn spread(
        &self,
        issue: &str,
        readers: usize,
        count: usize,
        every: Duration,
    ) -> Result<Vec<f64>, Error> {
        let began = Instant::now();
        let (tell, told) = channel();
        let mut threads = Vec::with_capacity(readers);
        for _ in 0..readers {
            let stream = self.call("GET /api/v1/events?filter=issue_commented", None)?;
            let mut stream = BufReader::new(stream);
            head(&mut stream, "200")?;
            let tell = tell.clone();
            threads.push(std::thread::spawn(move || read(stream, count, began, &tell)));
        }
        drop(tell);
        let line = format!("POST /api/v1/issues/{issue}/comment");
        let mut stream = TcpStream::connect(&self.address).map_err(failed(&line))?;
        stream.set_nodelay(true).map_err(failed(&line))?;
        stream.set_read_timeout(Some(PATIENCE)).map_err(failed(&line))?;
        let mut answers = BufReader::new(stream.try_clone().map_err(failed(&line))?);
        let start = Instant::now();
        for number in 0..count {
            let due = every.saturating_mul(u32::try_from(number).unwrap_or(u32::MAX));
            std::thread::sleep((start + due).saturating_duration_since(Instant::now()));
            let text = format!("{MARK}{}.", began.elapsed().as_micros());
            self.ask(&mut stream, &line, Some(&json!({ "text": text })))?;
            let length = head(&mut answers, "20")?;
            let mut body = vec![0; length];
            answers.read_exact(&mut body).map_err(failed(&line))?;
        }
        let mut times: Vec<f64> = told.iter().collect();
        threads.into_iter().for_each(|thread| drop(thread.join()));
        if times.len() != readers * count {
            let message = format!("{} of {} events arrived", times.len(), readers * count);
            return Err(Error::Format { what: "event streams".to_owned(), message });
        }
        times.sort_by(f64::total_cmp);
        Ok(times)
    }
}

/// Reads until `count` events are there, or nothing comes any more.
fn read(stream: BufReader<TcpStream>, count: usize, began: Instant, tell: &Sender<f64>) {
    let mut seen = 0;
    for line in stream.lines() {
        let Ok(line) = line else { return };
        let now = began.elapsed();
        let sent = line.split_once(MARK).and_then(|(_, rest)| rest.split_once('.')?.0.parse().ok());
        let Some(sent) = sent.map(Duration::from_micros) else { continue };
        let _ = tell.send(now.saturating_sub(sent).as_secs_f64() * 1e3);
        seen += 1;
        if seen == count {
            return;
        }
    }
}

/// Reads the head of an answer; the length of its body.
fn head(stream: &mut BufReader<TcpStream>, status: &str) -> Result<usize, Error> {
    let mut length = 0;
    for number in 0.. {
        let mut line = String::new();
        stream.read_line(&mut line).map_err(failed("an answer"))?;
        if number == 0 && !line.starts_with(&format!("HTTP/1.1 {status}")) {
            return Err(Error::Format { what: "an answer".to_owned(), message: line });
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap_or_default();
        }
        if line.trim().is_empty() {
            break;
        }
    }
    Ok(length)
}

fn failed(what: &str) -> impl Fn(std::io::Error) -> Error {
    let command = what.to_owned();
    move |source| Error::Start { command: command.clone(), source }
}

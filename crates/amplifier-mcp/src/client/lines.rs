//! The messages of a server that is a program: one a line, on its standard streams.
//!
//! Guarantees: no line over [`MAX_LINE`] is held; log messages go no further than the log; of notifications and
//! questions that come in a flood a bounded number is passed on. Text that is no message is passed over up to a
//! bound; broken JSON ends the connection, with a reason, as an answer may be lost in it.

#![expect(deprecated, reason = "servers of today send log messages; the newest protocol alone has none")]

use std::io;
use std::sync::Arc;

use amplifier_core::{Clock, MonoTime};
use rmcp::RoleClient;
use rmcp::model::{ErrorData, JsonRpcMessage, RequestId, ServerNotification};
use rmcp::service::{RxJsonRpcMessage, TxJsonRpcMessage};
use rmcp::transport::Transport;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::sync::Mutex;

use super::faults::Faults;

/// Longest message, in bytes.
pub(super) const MAX_LINE: usize = 64 << 20;
/// A line's memory that is kept for the next one, in bytes.
const KEPT: usize = 1 << 20;
/// Lines that are no messages, before the connection is given up.
const MAX_CHATTER: u32 = 1_000;
/// Notifications and questions that may come at once.
const BURST: f64 = 500.0;
/// And how many a second after that.
const A_SECOND: f64 = 200.0;

type Message = RxJsonRpcMessage<RoleClient>;

/// The streams of one server.
pub(super) struct Lines<R, W> {
    read: BufReader<R>,
    line: Vec<u8>,
    // One writer at a time: a message is never torn by another. Held across a write, which ends when the
    // server does.
    write: Arc<Mutex<Option<W>>>,
    server: String,
    faults: Arc<Faults>,
    chatter: u32,
    allowance: Allowance,
}

/// What one line is.
enum Line {
    Message(Box<Message>),
    Nothing,
    Broken(String),
}

impl<R: AsyncRead + Unpin, W> Lines<R, W> {
    pub(super) fn new(
        server: &str,
        (read, write): (R, W),
        faults: Arc<Faults>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            read: BufReader::new(read),
            line: Vec::new(),
            write: Arc::new(Mutex::new(Some(write))),
            server: server.to_owned(),
            faults,
            chatter: 0,
            allowance: Allowance { left: BURST, at: clock.monotonic(), clock },
        }
    }

    /// Reads on until `line` holds a whole one; `Err` says why there will be none. Nothing is lost if the
    /// future is dropped.
    async fn whole_line(&mut self) -> Result<(), String> {
        loop {
            let there =
                self.read.fill_buf().await.map_err(|error| format!("its output cannot be read: {error}"))?;
            if there.is_empty() {
                return Err("it has closed its output".to_owned());
            }
            let end = there.iter().position(|byte| *byte == b'\n');
            let take = end.map_or(there.len(), |end| end + 1);
            if self.line.len() + take > MAX_LINE {
                return Err(format!("it has sent a message of over {} MiB", MAX_LINE >> 20));
            }
            self.line.extend_from_slice(&there[..take]);
            self.read.consume(take);
            if end.is_some() {
                return Ok(());
            }
        }
    }

    fn understood(&mut self) -> Line {
        let line = self.line.trim_ascii();
        let line = line.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(line);
        match line.first() {
            None => Line::Nothing,
            Some(b'{' | b'[') => match serde_json::from_slice::<Message>(line) {
                Ok(message) => self.passed(message),
                Err(_) => odd(line),
            },
            Some(_) => {
                self.chatter += 1;
                if self.chatter == 1 {
                    tracing::warn!(server = self.server, "an MCP server prints text among its messages");
                }
                match self.chatter {
                    ..MAX_CHATTER => Line::Nothing,
                    _ => Line::Broken("it prints text where messages belong".to_owned()),
                }
            }
        }
    }

    /// A message, if it is not one of a flood.
    fn passed(&mut self, message: Message) -> Line {
        match &message {
            JsonRpcMessage::Notification(note) => {
                if let ServerNotification::LoggingMessageNotification(log) = &note.notification {
                    let text: String = log.params.data.to_string().chars().take(500).collect();
                    tracing::debug!(server = self.server, text, "an MCP server says");
                    return Line::Nothing;
                }
                if !self.allowance.take() {
                    if self.faults.dropped() {
                        tracing::warn!(
                            server = self.server,
                            "an MCP server floods; notifications are left out"
                        );
                    }
                    return Line::Nothing;
                }
            }
            JsonRpcMessage::Request(_) if !self.allowance.take() => {
                return Line::Broken("it floods with questions".to_owned());
            }
            _ => {}
        }
        Line::Message(Box::new(message))
    }
}

/// JSON that is no message that is known, or no JSON.
fn odd(line: &[u8]) -> Line {
    let Ok(value) = serde_json::from_slice::<Value>(line) else {
        return Line::Broken("it has sent broken JSON".to_owned());
    };
    let id = value.get("id").cloned().and_then(|id| serde_json::from_value::<RequestId>(id).ok());
    match id {
        // Whoever waits for that answer must not wait for ever.
        Some(id) if value.get("method").is_none() => {
            let error =
                ErrorData::internal_error("the server's answer is none that the protocol knows", None);
            Line::Message(Box::new(JsonRpcMessage::error(error, Some(id))))
        }
        _ => Line::Nothing,
    }
}

impl<R, W> Transport<RoleClient> for Lines<R, W>
where
    R: AsyncRead + Unpin + Send,
    W: AsyncWrite + Unpin + Send + 'static,
{
    type Error = io::Error;

    fn send(
        &mut self,
        message: TxJsonRpcMessage<RoleClient>,
    ) -> impl Future<Output = Result<(), io::Error>> + Send + 'static {
        let write = Arc::clone(&self.write);
        async move {
            let mut bytes = serde_json::to_vec(&message)?;
            bytes.push(b'\n');
            let mut write = write.lock().await;
            let pipe = write.as_mut().ok_or(io::ErrorKind::BrokenPipe)?;
            pipe.write_all(&bytes).await?;
            pipe.flush().await
        }
    }

    async fn receive(&mut self) -> Option<Message> {
        loop {
            if let Err(reason) = self.whole_line().await {
                self.faults.closes(reason);
                return None;
            }
            let understood = self.understood();
            self.line.clear();
            self.line.shrink_to(KEPT);
            match understood {
                Line::Message(message) => return Some(*message),
                Line::Nothing => {}
                Line::Broken(reason) => {
                    self.faults.closes(reason);
                    return None;
                }
            }
        }
    }

    async fn close(&mut self) -> Result<(), io::Error> {
        drop(self.write.lock().await.take());
        Ok(())
    }
}

/// How much more of what nobody has asked for is passed on.
struct Allowance {
    left: f64,
    at: MonoTime,
    clock: Arc<dyn Clock>,
}

impl Allowance {
    fn take(&mut self) -> bool {
        let now = self.clock.monotonic();
        let more = now.saturating_since(self.at).as_secs_f64() * A_SECOND;
        self.at = now;
        self.left = (self.left + more).min(BURST);
        if self.left < 1.0 {
            return false;
        }
        self.left -= 1.0;
        true
    }
}

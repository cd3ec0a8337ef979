//! Asking the person at the terminal.
//!
//! Guarantees: one question at a time; what was typed before it answers nothing; an answer that is
//! none of the options is asked for again; the end of input, a signal and a time-out are a denial.
//! Where stdin or stderr is no terminal, nobody is there to ask.

use std::io::{BufRead, IsTerminal, Write};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use amplifier_core::CancelToken;
use amplifier_core::approval::{ApprovalAnswer, ApprovalRequest, Approver, NobodyToAsk};
use async_trait::async_trait;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::termios::{FlushArg, tcflush};
use tokio::sync::Mutex;

use crate::output::{Style, plain, say};

/// How often a thread that waits for a line looks whether the answer is still wanted, in milliseconds.
const LOOK_MS: u16 = 100;

/// Whoever is there to ask. `stop` ends a question without an answer.
pub(crate) fn approver(stop: &CancelToken) -> Arc<dyn Approver> {
    if std::io::stdin().is_terminal() && std::io::stderr().is_terminal() {
        Arc::new(Terminal { stop: stop.clone(), turn: Mutex::new(()) })
    } else {
        Arc::new(NobodyToAsk)
    }
}

/// The person at the terminal.
#[derive(Debug)]
struct Terminal {
    stop: CancelToken,
    // Held over a question and its answer: a second one waits for its turn.
    turn: Mutex<()>,
}

/// Tells the reading thread that nobody waits any more.
struct Unwanted(Arc<AtomicBool>);

impl Drop for Unwanted {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[async_trait]
impl Approver for Terminal {
    fn can_answer(&self) -> bool {
        true
    }

    async fn request(&self, request: ApprovalRequest) -> ApprovalAnswer {
        let _turn = self.turn.lock().await;
        loop {
            let question = format!("{} ", Style::stderr().warning(&format!("{}?", plain(&request.prompt))));
            let unwanted = Unwanted(Arc::new(AtomicBool::new(false)));
            let flag = Arc::clone(&unwanted.0);
            let line = tokio::task::spawn_blocking(move || ask(&question, &flag));
            let line = tokio::select! {
                line = line => line.ok().flatten(),
                () = self.stop.cancelled() => None,
            };
            match line.as_deref().map(answer) {
                None => return denied("the person did not answer"),
                Some(Some(answer)) => return answer,
                Some(None) => say("please answer y, a or n"),
            }
        }
    }
}

fn denied(reason: &str) -> ApprovalAnswer {
    ApprovalAnswer::Deny { reason: reason.to_owned() }
}

fn answer(line: &str) -> Option<ApprovalAnswer> {
    match line.trim().to_lowercase().as_str() {
        "y" | "yes" => Some(ApprovalAnswer::Allow),
        "a" | "always" => Some(ApprovalAnswer::AllowForSession),
        "n" | "no" => Some(denied("the person said no")),
        _ => None,
    }
}

/// Writes the question and waits for a line; `None` at the end of input or when nobody waits.
/// What was typed before the question could be read answers nothing.
fn ask(question: &str, unwanted: &AtomicBool) -> Option<String> {
    let _ = tcflush(std::io::stdin(), FlushArg::TCIFLUSH);
    let mut stderr = std::io::stderr().lock();
    let _ = write!(stderr, "{question}[y]es / [a]lways for this session / [n]o: ");
    let _ = stderr.flush();
    drop(stderr);
    let stdin = std::io::stdin();
    loop {
        if unwanted.load(Ordering::Relaxed) {
            say("");
            return None;
        }
        let mut wanted = [PollFd::new(stdin.as_fd(), PollFlags::POLLIN)];
        if poll(&mut wanted, PollTimeout::from(LOOK_MS)) == Ok(0) {
            continue;
        }
        // What is typed by now is for somebody else.
        if unwanted.load(Ordering::Relaxed) {
            return None;
        }
        let mut line = String::new();
        return match stdin.lock().read_line(&mut line) {
            Ok(0) | Err(_) => None,
            Ok(_) => Some(line),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_options_are_answers() {
        let check = |line: &str, expect: Option<ApprovalAnswer>| assert_eq!(answer(line), expect, "{line:?}");
        check("y\n", Some(ApprovalAnswer::Allow));
        check(" YES ", Some(ApprovalAnswer::Allow));
        check("a", Some(ApprovalAnswer::AllowForSession));
        check("n", Some(denied("the person said no")));
        check("\n", None);
        check("yolo", None);
    }
}

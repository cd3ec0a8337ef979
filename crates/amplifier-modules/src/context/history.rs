//! A conversation that knows where it may be shortened.
//!
//! Guarantees: a cut never parts a tool call from its results, keeps the order, and
//! leaves the conversation itself untouched. A view costs the same for ten messages
//! as for ten thousand, a new cut one binary search.
//! Never here: when to shorten, and by how much; that is [`super::simple`].

use std::sync::Arc;

use amplifier_core::message::{Message, Role};
use amplifier_core::module::context::ContextView;
use amplifier_core::transcript::{MessageLog, MessageView};

/// A first prompt of this many tokens is shown however little room there is.
const SHORT_PROMPT: u64 = 256;

/// Messages with what is needed to cut them in no time.
#[derive(Debug)]
pub(super) struct History {
    log: MessageLog,
    /// `sums[i]`: estimated tokens of the first `i` messages.
    sums: Vec<u64>,
    /// Indexes before which every tool call has its results.
    borders: Vec<usize>,
    /// Calls of the last answer that have no result yet.
    open: Vec<String>,
    first_prompt: Option<usize>,
    last_prompt: Option<usize>,
    /// Instructions inside the conversation.
    instructions: Vec<usize>,
    cut: Option<Cut>,
}

/// What a shortened view shows before the newest messages.
#[derive(Debug)]
struct Cut {
    head: MessageView,
    head_tokens: u64,
    /// Where the newest messages begin.
    start: usize,
    left_out: usize,
}

impl Default for History {
    fn default() -> Self {
        Self {
            log: MessageLog::default(),
            sums: vec![0],
            borders: Vec::new(),
            open: Vec::new(),
            first_prompt: None,
            last_prompt: None,
            instructions: Vec::new(),
            cut: None,
        }
    }
}

impl History {
    /// Adds messages at the end.
    pub(super) fn extend(&mut self, messages: &[Arc<Message>]) {
        for message in messages {
            self.note(message);
        }
        self.log.extend(messages.iter().cloned());
    }

    fn note(&mut self, message: &Message) {
        let index = self.sums.len() - 1;
        self.sums.push(self.total() + message.estimated_tokens());
        if message.role == Role::Assistant {
            // Whatever is still open was given up by who wrote this.
            self.open.clear();
        }
        if self.open.is_empty() && message.role != Role::Tool {
            self.borders.push(index);
        }
        match message.role {
            Role::Assistant => self.open.extend(message.tool_calls.iter().map(|call| call.id.clone())),
            Role::Tool => self.open.retain(|id| Some(id) != message.tool_call_id.as_ref()),
            Role::User if message.metadata.get("source").is_none_or(|source| source != "hook") => {
                self.first_prompt.get_or_insert(index);
                self.last_prompt = Some(index);
            }
            Role::System | Role::Developer => self.instructions.push(index),
            _ => {}
        }
    }

    /// All messages.
    pub(super) fn all(&self) -> MessageView {
        self.log.view()
    }

    /// Estimated tokens of all messages.
    pub(super) fn total(&self) -> u64 {
        self.sums.last().copied().unwrap_or(0)
    }

    /// Everything.
    pub(super) fn whole(&self) -> ContextView {
        ContextView::whole(self.log.view(), self.total())
    }

    /// The view by the last cut, if there was one.
    pub(super) fn shortened(&self) -> Option<ContextView> {
        let cut = self.cut.as_ref()?;
        let mut messages = cut.head.clone();
        messages.push(self.log.range(cut.start, self.sums.len() - 1));
        let mut view = ContextView::whole(messages, cut.head_tokens + self.tokens_from(cut.start));
        view.left_out = cut.left_out;
        Some(view)
    }

    /// Makes a new cut, so that a view holds at most `allowed` tokens where that is possible;
    /// the newest messages from the last border on are shown in any case.
    pub(super) fn shorten(&mut self, allowed: u64) {
        let pinned = self.pinned(allowed);
        let fixed: u64 = pinned.iter().map(|index| self.tokens_of(*index)).sum::<u64>() + note_tokens();
        let room = allowed.saturating_sub(fixed);
        let fits = self.borders.partition_point(|border| self.tokens_from(*border) > room);
        let Some(start) = self.borders.get(fits).or(self.borders.last()).copied() else { return };
        let kept: Vec<usize> = pinned.into_iter().filter(|index| *index < start).collect();
        let left_out = start - kept.len();
        self.cut = (left_out > 0).then(|| self.cut_at(start, &kept, left_out));
    }

    fn cut_at(&self, start: usize, kept: &[usize], left_out: usize) -> Cut {
        let unbroken = kept.iter().enumerate().take_while(|(place, index)| place == *index).count();
        let mut head: Vec<Arc<Message>> = kept.iter().filter_map(|index| self.log.get(*index)).collect();
        head.insert(unbroken.min(head.len()), Arc::new(note(left_out)));
        let head_tokens = head.iter().map(|message| message.estimated_tokens()).sum();
        Cut { head: MessageView::of(head), head_tokens, start, left_out }
    }

    /// What is shown whatever its age: instructions, the newest prompt, and the first one
    /// unless it is long and would take half of the room.
    fn pinned(&self, allowed: u64) -> Vec<usize> {
        let first = self.first_prompt.filter(|index| self.tokens_of(*index) <= SHORT_PROMPT.max(allowed / 2));
        let mut pinned = self.instructions.clone();
        pinned.extend(first);
        pinned.extend(self.last_prompt);
        pinned.sort_unstable();
        pinned.dedup();
        pinned
    }

    fn tokens_of(&self, index: usize) -> u64 {
        self.sums[index + 1] - self.sums[index]
    }

    fn tokens_from(&self, index: usize) -> u64 {
        self.total() - self.sums[index]
    }
}

fn note(left_out: usize) -> Message {
    Message::user(format!("[{left_out} earlier messages left out]"))
}

/// The most that a note can cost.
fn note_tokens() -> u64 {
    note(usize::MAX).estimated_tokens()
}

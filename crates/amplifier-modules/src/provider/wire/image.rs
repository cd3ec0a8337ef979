//! Which images of a conversation a service is sent, and where they stand.
//!
//! Guarantees: of all images the latest are sent, at most [`MAX_IMAGES`] with [`MAX_IMAGE_BYTES`] of base64 together,
//! so that a conversation never grows beyond what services take; each of the others is told of in its place.

use std::sync::Arc;

use amplifier_core::{Content, ContentBlock, ImageSource, KnownBlock, Message, Role};
use genai::chat::{Binary, BinarySource, ChatMessage, ContentPart, MessageContent};

/// Most images of one request.
pub(in crate::provider) const MAX_IMAGES: usize = 20;
/// Most base64 of all images of one request, in bytes.
pub(in crate::provider) const MAX_IMAGE_BYTES: usize = 12 << 20;

/// Stands for an image that is not sent.
pub(super) const NOT_SHOWN: &str = "[an image that is not shown here]";
/// Stands in a result whose image is sent behind it.
const BESIDE: &str = "[an image: it is shown behind these results]";
/// Stands before the images of results.
const OF_RESULTS: &str =
    "<system-reminder>\nImages of the tool results above, in their order:\n</system-reminder>";

/// Whose images are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::provider) struct Wanted {
    /// Those in messages of a user.
    pub(in crate::provider) users: bool,
    /// Those in results of tools.
    pub(in crate::provider) tools: bool,
}

impl Wanted {
    fn of(self, role: Role) -> bool {
        if role == Role::Tool { self.tools } else { self.users }
    }
}

/// Goes through the images of a conversation, from the first to the last.
#[derive(Debug)]
pub(super) struct Sight {
    wanted: Wanted,
    /// How many of the next ones are left out, because later ones are as many as services take.
    early: usize,
    /// Images of the results since the last other message.
    beside: Vec<ContentPart>,
}

impl Sight {
    pub(super) fn of<M: AsRef<Message>>(messages: &[M], wanted: Wanted) -> Self {
        let sent =
            |message: &&Message| matches!(message.role, Role::User | Role::Tool) && wanted.of(message.role);
        let all = messages.iter().rev().map(AsRef::as_ref).filter(sent);
        let all = all.flat_map(|message| images(message).rev());
        let (mut count, mut shown, mut bytes) = (0, 0, 0_usize);
        for source in all {
            bytes = bytes.saturating_add(length(source));
            // What is before one that does not fit does not fit either.
            shown += usize::from(shown == count && shown < MAX_IMAGES && bytes <= MAX_IMAGE_BYTES);
            count += 1;
        }
        Self { wanted, early: count - shown, beside: Vec::new() }
    }

    /// Whether the next image, one of this role, is sent.
    pub(super) fn shows(&mut self, role: Role) -> bool {
        if !self.wanted.of(role) {
            return false;
        }
        let early = self.early > 0;
        self.early = self.early.saturating_sub(1);
        !early
    }

    /// Keeps the image of a result for behind the round; what stands in its place.
    pub(super) fn put_beside(&mut self, source: &ImageSource) -> &'static str {
        self.beside.extend(part(source));
        BESIDE
    }

    /// The images of a round of results, if there are any.
    pub(super) fn beside_results(&mut self) -> Option<ChatMessage> {
        if self.beside.is_empty() {
            return None;
        }
        let mut parts = vec![ContentPart::Text(OF_RESULTS.to_owned())];
        parts.append(&mut self.beside);
        Some(ChatMessage::user(MessageContent::from_parts(parts)))
    }
}

fn images(message: &Message) -> impl DoubleEndedIterator<Item = &ImageSource> {
    let blocks: &[ContentBlock] = match &message.content {
        Content::Blocks(blocks) => blocks,
        _ => &[],
    };
    blocks.iter().filter_map(of)
}

fn length(source: &ImageSource) -> usize {
    match source {
        ImageSource::Base64 { data, .. } => data.len(),
        _ => 0,
    }
}

/// The image of a block that is one.
pub(super) fn of(block: &ContentBlock) -> Option<&ImageSource> {
    match block {
        ContentBlock::Known(KnownBlock::Image { source, .. }) => Some(source),
        _ => None,
    }
}

/// An image in `genai`'s words.
pub(super) fn part(source: &ImageSource) -> Option<ContentPart> {
    let ImageSource::Base64 { media_type, data, .. } = source else { return None };
    let source = BinarySource::Base64(Arc::from(data.as_str()));
    Some(ContentPart::Binary(Binary::new(media_type.as_str(), source, None)))
}

//! The system prompt of a bundle: its instruction, its context files, what they mention.
//!
//! Guarantees: rendered anew at each request, so that an edit is seen at once; a
//! file is opened only if its stamp changed.
//! Never here: what hooks or agents add.

use std::path::PathBuf;
use std::sync::Arc;

use super::project::ProjectContext;
use super::roster::ContextFile;
use crate::mention::{Expansion, FailureReason, MentionResolver};

/// Makes the system prompt of one session. Cheap to clone.
#[derive(Debug, Clone)]
pub struct SystemPromptSource {
    instruction: Arc<str>,
    context: Arc<[ContextFile]>,
    resolver: MentionResolver,
    from: Option<PathBuf>,
    checkout: Option<PathBuf>,
    project: Option<Arc<ProjectContext>>,
}

/// A system prompt, and what went into it.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct SystemPrompt {
    /// The text; empty if the bundle says nothing.
    pub text: String,
    /// What context files and mentions brought.
    pub expansion: Expansion,
    /// Context files that could not be read this time.
    pub unreadable: Vec<(ContextFile, FailureReason)>,
}

impl SystemPromptSource {
    /// A source for an instruction, with context files, mentions resolved by `resolver`.
    pub fn new(
        instruction: impl Into<Arc<str>>,
        context: impl Into<Arc<[ContextFile]>>,
        resolver: MentionResolver,
    ) -> Self {
        let (instruction, context) = (instruction.into(), context.into());
        Self { instruction, context, resolver, from: None, checkout: None, project: None }
    }

    /// The same with a folder in which `@./` of the instruction begins.
    #[must_use]
    pub fn from(mut self, folder: Option<PathBuf>) -> Self {
        self.from = folder;
        self
    }

    /// The same for an instruction that was fetched: its mentions do not leave this checkout.
    #[must_use]
    pub(crate) fn within(mut self, checkout: Option<PathBuf>) -> Self {
        self.checkout = checkout;
        self
    }

    /// The same with the instructions of wherever the session works.
    #[must_use]
    pub(crate) fn project(mut self, project: Option<Arc<ProjectContext>>) -> Self {
        self.project = project;
        self
    }

    /// The prompt as of now.
    pub fn render(&self) -> SystemPrompt {
        let mut expansion = Expansion::default();
        let mut unreadable = Vec::new();
        for file in self.context.iter() {
            if let Err(reason) = self.resolver.include(&mut expansion, &file.key, &file.path) {
                unreadable.push((file.clone(), reason));
            }
        }
        if let Some(project) = &self.project {
            unreadable.extend(project.add(&self.resolver, &mut expansion));
        }
        let (from, checkout) = (self.from.as_deref(), self.checkout.as_deref());
        self.resolver.expand_within(&mut expansion, &self.instruction, from, checkout);
        let blocks = expansion.blocks();
        let text = match (self.instruction.is_empty(), blocks.is_empty()) {
            (_, true) => self.instruction.as_ref().to_owned(),
            (true, false) => blocks,
            (false, false) => format!("{}\n\n{blocks}", self.instruction),
        };
        SystemPrompt { text, expansion, unreadable }
    }

    /// The resolver, for the user's own texts.
    pub fn resolver(&self) -> &MentionResolver {
        &self.resolver
    }
}

impl amplifier_core::SystemPrompt for SystemPromptSource {
    fn render(&self) -> Option<Arc<str>> {
        if self.context.is_empty() && self.project.is_none() && !self.instruction.contains('@') {
            // Nothing that could change: the same text for every request of every session.
            return (!self.instruction.is_empty()).then(|| Arc::clone(&self.instruction));
        }
        let text = Self::render(self).text;
        (!text.is_empty()).then(|| Arc::from(text))
    }
}

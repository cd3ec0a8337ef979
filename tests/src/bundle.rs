//! The text of a bundle, put together.

use std::fmt;

use serde_json::{Value, json};

/// A bundle of `loop-basic`, `context-simple` and what is added.
#[derive(Debug, Clone)]
#[must_use]
pub struct BundleText {
    name: String,
    orchestrator: Value,
    context: Value,
    providers: Vec<Value>,
    tools: Vec<Value>,
    hooks: Vec<Value>,
    sections: Vec<(&'static str, Value)>,
    instruction: String,
}

impl BundleText {
    /// A bundle with the kit's provider and nothing else.
    pub fn new(name: &str) -> Self {
        Self { providers: vec![json!({"module": crate::fake::PROVIDER})], ..Self::bare(name) }
    }

    /// A bundle without provider.
    pub fn bare(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            orchestrator: json!(crate::fake::ORCHESTRATOR),
            context: json!(crate::fake::CONTEXT),
            providers: Vec::new(),
            tools: Vec::new(),
            hooks: Vec::new(),
            sections: Vec::new(),
            instruction: "You are tested.".to_owned(),
        }
    }

    /// Another orchestrator.
    pub fn orchestrator(mut self, module: &str) -> Self {
        self.orchestrator = json!(module);
        self
    }

    /// Another orchestrator, with settings.
    pub fn orchestrator_with(mut self, module: &str, config: Value) -> Self {
        self.orchestrator = json!({"module": module, "config": config});
        self
    }

    /// Another context manager.
    pub fn context(mut self, module: &str) -> Self {
        self.context = json!(module);
        self
    }

    /// One more provider.
    pub fn provider(mut self, module: &str, config: Value) -> Self {
        self.providers.push(json!({"module": module, "config": config}));
        self
    }

    /// One more tool.
    pub fn tool(mut self, module: &str) -> Self {
        self.tools.push(json!({"module": module}));
        self
    }

    /// One more tool, with settings.
    pub fn tool_with(mut self, module: &str, config: Value) -> Self {
        self.tools.push(json!({"module": module, "config": config}));
        self
    }

    /// A further section, such as `agents` or `spawn`; one of the same name is replaced.
    pub fn section(mut self, key: &'static str, value: Value) -> Self {
        self.sections.retain(|(name, _)| *name != key);
        self.sections.push((key, value));
        self
    }

    /// One more hook.
    pub fn hook(mut self, module: &str) -> Self {
        self.hooks.push(json!({"module": module}));
        self
    }

    /// The body: the system prompt.
    pub fn instruction(mut self, text: &str) -> Self {
        self.instruction = text.to_owned();
        self
    }
}

/// JSON is YAML, so the front matter is one line of it a key.
impl fmt::Display for BundleText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "---\nbundle: {}", json!({"name": self.name}))?;
        writeln!(f, "session: {}", json!({"orchestrator": self.orchestrator, "context": self.context}))?;
        for (key, list) in [("providers", &self.providers), ("tools", &self.tools), ("hooks", &self.hooks)] {
            if !list.is_empty() {
                writeln!(f, "{key}: {}", Value::Array(list.clone()))?;
            }
        }
        for (key, value) in &self.sections {
            writeln!(f, "{key}: {value}")?;
        }
        writeln!(f, "---\n{}", self.instruction)
    }
}

impl From<BundleText> for String {
    fn from(bundle: BundleText) -> Self {
        bundle.to_string()
    }
}

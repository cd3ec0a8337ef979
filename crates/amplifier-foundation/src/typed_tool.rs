//! Tools whose arguments are a type: the schema that a model sees is made of it.
//!
//! ```
//! use amplifier_core::module::tool::{ToolContext, ToolError, ToolOutput};
//! // The derived code names `schemars`; imported from here, it needs no dependency of its own.
//! use amplifier_foundation::{Host, JsonSchema, Typed, TypedTool, schemars};
//!
//! #[derive(serde::Deserialize, JsonSchema)]
//! struct Sum {
//!     /// What to add up.
//!     numbers: Vec<f64>,
//! }
//!
//! struct Adder;
//!
//! #[async_trait::async_trait]
//! impl TypedTool for Adder {
//!     type Args = Sum;
//!     const NAME: &'static str = "add";
//!     const DESCRIPTION: &'static str = "Add numbers";
//!
//!     async fn call(&self, args: Sum, _cx: &ToolContext<'_>) -> Result<ToolOutput, ToolError> {
//!         Ok(args.numbers.iter().sum::<f64>().to_string().into())
//!     }
//! }
//!
//! let host = Host::builder().tool(Typed(Adder)).in_memory();
//! ```
//!
//! Guarantees: arguments that do not fit the type never reach the tool; the model is told which field is
//! wrong. The schema is made once, is an object with all its parts in place, and holds neither titles nor
//! formats of numbers, which services refuse or make every request pay for.

use std::fmt;

use amplifier_core::SessionEnv;
use amplifier_core::module::provider::ToolSchema;
use amplifier_core::module::tool::{Repeat, Tool, ToolContext, ToolError, ToolOutput, parse_arguments};
use amplifier_core::permission::Access;
use async_trait::async_trait;
use schemars::generate::SchemaSettings;
use schemars::transform::{RecursiveTransform, Transform};
pub use schemars::{self, JsonSchema};
use schemars::{Schema, SchemaGenerator};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

/// A tool with typed arguments. [`struct@Typed`] makes a [`Tool`] of it.
#[async_trait]
pub trait TypedTool: Send + Sync {
    /// The arguments: a struct with named fields. What is written above a field, the model reads.
    type Args: DeserializeOwned + JsonSchema + Send;
    /// The name by which the model calls it.
    const NAME: &'static str;
    /// What it does, for the model. Each byte is paid for in every request.
    const DESCRIPTION: &'static str;

    /// What a call with these arguments will touch; see [`Tool::access`].
    fn access(&self, args: &Self::Args, env: &SessionEnv) -> Result<Vec<Access>, ToolError> {
        let _ = (args, env);
        Ok(Vec::new())
    }

    /// Whether a call that was cut off may be made again; see [`Tool::repeat`].
    fn repeat(&self) -> Repeat {
        Repeat::Never
    }

    /// Runs the tool; see [`Tool::call`].
    async fn call(&self, args: Self::Args, cx: &ToolContext<'_>) -> Result<ToolOutput, ToolError>;
}

/// A [`TypedTool`] as a [`Tool`].
pub struct Typed<T> {
    tool: T,
    schema: ToolSchema,
}

/// Makes a [`Tool`] of a [`TypedTool`].
#[expect(non_snake_case, reason = "reads as the type that it makes: `Typed(Lookup)`")]
pub fn Typed<T: TypedTool>(tool: T) -> Typed<T> {
    let schema = ToolSchema {
        name: T::NAME.to_owned(),
        description: T::DESCRIPTION.to_owned(),
        input_schema: input_schema::<T::Args>(),
    };
    Typed { tool, schema }
}

impl<T> fmt::Debug for Typed<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Typed").field(&self.schema.name).finish()
    }
}

#[async_trait]
impl<T: TypedTool> Tool for Typed<T> {
    fn schema(&self) -> &ToolSchema {
        &self.schema
    }

    fn access(&self, arguments: &Value, env: &SessionEnv) -> Result<Vec<Access>, ToolError> {
        self.tool.access(&parse_arguments(arguments)?, env)
    }

    fn repeat(&self) -> Repeat {
        self.tool.repeat()
    }

    async fn call(&self, arguments: Value, cx: &ToolContext<'_>) -> Result<ToolOutput, ToolError> {
        self.tool.call(parse_arguments(&arguments)?, cx).await
    }
}

fn input_schema<A: JsonSchema>() -> Value {
    let mut settings = SchemaSettings::draft2020_12();
    settings.meta_schema = None;
    // Not every service follows references.
    settings.inline_subschemas = true;
    let mut schema = SchemaGenerator::new(settings).into_root_schema_for::<A>();
    RecursiveTransform(slim).transform(&mut schema);
    schema.remove("description");
    schema.insert("type".into(), "object".into());
    if !schema.get("properties").is_some_and(Value::is_object) {
        schema.insert("properties".into(), Map::new().into());
    }
    schema.to_value()
}

/// Takes out titles, formats of numbers, and `null` beside a type or as a default: what may be left out need
/// not be null.
fn slim(schema: &mut Schema) {
    flatten(schema);
    schema.remove("title");
    if schema.get("default").is_some_and(Value::is_null) {
        schema.remove("default");
    }
    if let Some(Value::Array(types)) = schema.get_mut("type") {
        types.retain(|kind| kind != "null");
        if let [one] = types.as_slice() {
            let one = one.clone();
            schema.insert("type".into(), one);
        }
    }
    if let Some(Value::Array(values)) = schema.get_mut("enum") {
        values.retain(|value| !value.is_null());
    }
    if matches!(schema.get("type").and_then(Value::as_str), Some("integer" | "number")) {
        schema.remove("format");
    }
}

/// A choice between one schema and `null` becomes that schema.
fn flatten(schema: &mut Schema) {
    let Some(Value::Array(choices)) = schema.get_mut("anyOf") else { return };
    choices.retain(|choice| choice.get("type").is_none_or(|kind| kind != "null"));
    let [Value::Object(one)] = choices.as_slice() else { return };
    let one = one.clone();
    schema.remove("anyOf");
    for (key, value) in one {
        // What is written at the field says more than what is written at its type.
        if schema.get(&key).is_none() {
            schema.insert(key, value);
        }
    }
}

#[cfg(test)]
mod tests;

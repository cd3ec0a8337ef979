//! A server's result as the model and a person get it.
//!
//! Guarantees: text in the order in which it came; what is no text is named with its type and size, and kept as
//! a file of the session where there is one. Images that services take are shown to the model besides, within
//! [`MAX_SHOWN`] and [`MAX_SHOWN_BYTES`]. Never here: a bound on the text; the kernel cuts it and says so.

use std::path::{Path, PathBuf};

use amplifier_core::ImageSource;
use amplifier_core::module::tool::ToolOutput;
use amplifier_foundation::fs::tree;
use amplifier_foundation::fs::write::{self, Access};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rmcp::model::{CallToolResult, ContentBlock, ResourceContents};

use super::image;

/// Longest thing that is kept as a file, in bytes of base64.
const MAX_KEPT: usize = 32 << 20;
/// Files that one result may leave.
const MAX_FILES: usize = 16;
/// Most images of one result that a model is shown.
const MAX_SHOWN: usize = 8;
/// Most base64 of them together, in bytes.
const MAX_SHOWN_BYTES: usize = 8 << 20;
/// The folder for them, in that of the session.
const FOLDER: &str = "mcp";

/// Where things that are no text are kept, and what they are called.
#[derive(Debug)]
pub(super) struct Keep<'a> {
    /// The session's folder.
    pub(super) folder: Option<&'a Path>,
    /// The call.
    pub(super) call: &'a str,
}

/// The result as text; files are written on the way.
pub(super) fn output(result: CallToolResult, keep: &Keep<'_>) -> ToolOutput {
    let mut parts = Vec::new();
    let mut left = Left::default();
    for block in result.content {
        parts.push(part(block, keep, &mut left));
    }
    // Servers repeat in text what they say in data; those that do not are read all the same.
    if parts.iter().all(|part| part.trim().is_empty())
        && let Some(data) = result.structured_content
    {
        parts.push(data.to_string());
    }
    let text = parts.join("\n");
    let text = if text.is_empty() { "(no content)".to_owned() } else { text };
    let output = match result.is_error {
        Some(true) => ToolOutput::failure(text),
        _ => ToolOutput::text(text),
    };
    output.with_images(left.images)
}

/// What a result leaves besides its text.
#[derive(Debug, Default)]
struct Left {
    files: usize,
    images: Vec<ImageSource>,
    /// Base64 of the images.
    bytes: usize,
}

impl Left {
    /// Shows the model an image, if it is one that services take and there is room; why not.
    fn show(&mut self, data: &str) -> Result<(), String> {
        let (media_type, data) = image::read(data)?;
        if self.images.len() >= MAX_SHOWN || self.bytes + data.len() > MAX_SHOWN_BYTES {
            return Err("the result has more images than are shown".to_owned());
        }
        self.bytes += data.len();
        self.images.push(ImageSource::base64(media_type, data));
        Ok(())
    }
}

fn part(block: ContentBlock, keep: &Keep<'_>, left: &mut Left) -> String {
    match block {
        ContentBlock::Text(text) => text.text,
        ContentBlock::Image(image) => seen(("image", &image.mime_type), &image.data, keep, left),
        ContentBlock::Audio(audio) => kept(("audio", &audio.mime_type), &audio.data, keep, left),
        ContentBlock::Resource(resource) => match resource.resource {
            ResourceContents::TextResourceContents { uri, text, .. } => format!("[resource {uri}]\n{text}"),
            ResourceContents::BlobResourceContents { uri, mime_type, blob, .. } => {
                let kind = mime_type.unwrap_or_default();
                let how = if kind.starts_with("image/") { seen } else { kept };
                format!("[resource {uri}]\n{}", how(("data", &kind), &blob, keep, left))
            }
            _ => "[a resource of a kind that is not known]".to_owned(),
        },
        ContentBlock::ResourceLink(link) => {
            let about = link.description.or(link.title).map(|about| format!(": {about}")).unwrap_or_default();
            format!("[resource link {} ({}){about}]", link.uri, link.name)
        }
        _ => "[content of a kind that is not known]".to_owned(),
    }
}

/// The same for an image, which the model is shown besides.
fn seen(what: (&str, &str), data: &str, keep: &Keep<'_>, left: &mut Left) -> String {
    let told = kept(what, data, keep, left);
    match left.show(data) {
        Ok(()) => told,
        Err(why) => format!("{told} [not shown: {why}]"),
    }
}

/// Names what is no text, and writes it to a file where that can be done.
fn kept((what, kind): (&str, &str), data: &str, keep: &Keep<'_>, left: &mut Left) -> String {
    let kind: String = kind.chars().filter(|c| !c.is_control()).take(100).collect();
    let bytes = data.len() / 4 * 3 - data.bytes().rev().take_while(|byte| *byte == b'=').count().min(2);
    let about = format!("{what} {kind}, {bytes} bytes");
    let Some(folder) = keep.folder.filter(|_| data.len() <= MAX_KEPT && left.files < MAX_FILES) else {
        return format!("[{about}, not kept]");
    };
    left.files += 1;
    let name = format!("{}-{}.{}", plain(keep.call), left.files, ending(&kind));
    match store(&folder.join(FOLDER), &name, data) {
        Ok(path) => format!("[{about}, in {}]", path.display()),
        Err(reason) => format!("[{about}, not kept: {reason}]"),
    }
}

fn store(folder: &Path, name: &str, data: &str) -> Result<PathBuf, String> {
    let bytes = STANDARD.decode(data.trim()).map_err(|_| "it is no base64".to_owned())?;
    tree::create(folder).map_err(|error| error.to_string())?;
    let path = folder.join(name);
    write::replace(&path, &bytes, Access::Private).map_err(|error| error.to_string())?;
    Ok(path)
}

/// The end of a file's name for a media type.
fn ending(kind: &str) -> String {
    let after = kind.split(['/', ';']).nth(1).unwrap_or("bin");
    let short = plain(after.trim());
    match short.as_str() {
        "jpeg" => "jpg".to_owned(),
        "" => "bin".to_owned(),
        _ => short,
    }
}

/// Letters and digits of a text, such that it can be a part of a file's name.
fn plain(text: &str) -> String {
    text.chars().filter(char::is_ascii_alphanumeric).take(40).collect()
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "tests look at real files")]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn of(result: Value, folder: Option<&Path>) -> ToolOutput {
        let result: CallToolResult = serde_json::from_value(result).unwrap();
        output(result, &Keep { folder, call: "call_1" })
    }

    #[test]
    fn each_kind_of_content_becomes_text() {
        let result = json!({"content": [
            {"type": "text", "text": "one"},
            {"type": "resource", "resource": {"uri": "file:///a", "text": "two"}},
            {"type": "resource_link", "uri": "http://b", "name": "b", "description": "a link"},
            {"type": "audio", "data": "AAAA", "mimeType": "audio/wav"},
        ]});
        let text = of(result, None).text;
        assert_eq!(
            text,
            "one\n[resource file:///a]\ntwo\n[resource link http://b (b): a link]\n[audio audio/wav, 3 bytes, not kept]"
        );
    }

    #[test]
    fn data_alone_is_shown_and_an_error_is_one() {
        assert_eq!(of(json!({"content": [], "structuredContent": {"a": 1}}), None).text, r#"{"a":1}"#);
        let both = json!({"content": [{"type": "text", "text": "a is 1"}], "structuredContent": {"a": 1}});
        assert_eq!(of(both, None).text, "a is 1");
        let failed = of(json!({"content": [], "isError": true}), None);
        assert!(failed.is_error && failed.text == "(no content)");
    }

    #[test]
    fn an_image_is_a_file_of_the_session() {
        let folder = tempfile::tempdir().unwrap();
        let image = json!({"content": [{"type": "image", "data": "aGk=", "mimeType": "image/jpeg"}]});
        let given = of(image, Some(folder.path()));
        let path = folder.path().join("mcp/call1-1.jpg");
        let why = "[not shown: it is no PNG, JPEG, GIF or WebP]";
        assert_eq!(given.text, format!("[image image/jpeg, 2 bytes, in {}] {why}", path.display()));
        assert!(given.images.is_empty(), "a service would refuse it, and the session with it");
        assert_eq!(std::fs::read(path).unwrap(), b"hi");
        let broken = json!({"content": [{"type": "image", "data": "???", "mimeType": "image/png"}]});
        assert!(of(broken, Some(folder.path())).text.contains("not kept: it is no base64"));
    }

    #[test]
    fn a_model_is_shown_images_of_a_result_as_what_they_are_and_no_more_than_there_is_room_for() {
        let png = image::tests::png(3, 2);
        let image = json!({"type": "image", "data": png, "mimeType": "image/jpeg"});
        let blob =
            json!({"type": "resource", "resource": {"uri": "a://b", "blob": png, "mimeType": "image/png"}});
        let given = of(json!({"content": [image, {"type": "text", "text": "between"}, blob]}), None);
        let shown = ImageSource::base64("image/png", png.as_str());
        assert_eq!(given.images, [shown.clone(), shown], "the type is that of the data");
        assert!(
            given.text.contains("not kept]\nbetween\n[resource a://b]\n[data image/png"),
            "{}",
            given.text
        );
        let many = of(json!({"content": vec![image; MAX_SHOWN + 2]}), None);
        assert_eq!(many.images.len(), MAX_SHOWN);
        assert_eq!(many.text.matches("more images than are shown").count(), 2);
    }
}

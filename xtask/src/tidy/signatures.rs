//! Untyped JSON in the public surface of the kernel, the bundles and the foundation.
//!
//! Guarantees: public functions, methods, fields, variants, aliases and constants
//! are read, also inside inline modules. Never the methods of a trait's
//! implementation: the trait's own declaration answers for them.

use std::collections::BTreeSet;

use syn::visit::Visit;
use syn::{ImplItem, Item, TraitItem, Type, Visibility};

use super::finding::Finding;
use super::imports::imports;
use super::source::Source;

const CRATES: [&str; 10] = [
    "amplifier-core",
    "amplifier-fs",
    "amplifier-bundle",
    "amplifier-store",
    "amplifier-trigger",
    "amplifier-issue",
    "amplifier-foundation",
    "amplifier-background",
    "amplifier-web",
    "amplifier-crew",
];
const LIBRARIES: [&str; 3] = ["serde_json", "serde_yaml", "toml"];

/// The rule's name, as the allow list names it.
pub(crate) const RULE: &str = "json-value";

/// Checks one file.
pub(crate) fn check(source: &Source, found: &mut Vec<Finding>) {
    if !CRATES.contains(&source.krate()) || source.is_test_file {
        return;
    }
    let mut reader = Reader { names: Names::of(&source.syntax), places: Vec::new() };
    reader.items(&source.syntax.items);
    reader.places.retain(|(line, _)| !source.is_test(*line));
    for (line, item) in reader.places {
        let advice =
            "give it a type; tool arguments, schemas and data of others are named in xtask/tidy-allow.txt";
        found.push(Finding::new(RULE, (&source.path, line), item, "shows untyped JSON", advice));
    }
}

/// Under which names a file knows `serde_json::Value`.
struct Names {
    values: BTreeSet<String>,
    libraries: BTreeSet<String>,
}

impl Names {
    fn of(file: &syn::File) -> Self {
        let mut names = Self {
            values: BTreeSet::new(),
            libraries: LIBRARIES.iter().map(|&library| library.to_owned()).collect(),
        };
        for import in imports(file) {
            let is_value = LIBRARIES.iter().any(|library| import.path == format!("{library}::Value"));
            let is_glob = LIBRARIES.iter().any(|library| import.path == format!("{library}::*"));
            if is_value {
                names.values.insert(import.name);
            } else if is_glob {
                names.values.insert("Value".to_owned());
            } else if LIBRARIES.contains(&import.path.as_str()) {
                names.libraries.insert(import.name);
            }
        }
        names
    }

    fn is_value(&self, path: &syn::Path) -> bool {
        let segments: Vec<String> = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        match segments.as_slice() {
            [name] => self.values.contains(name),
            [library, .., last] => self.libraries.contains(library) && last == "Value",
            [] => false,
        }
    }
}

impl Names {
    fn shows_value<T>(&self, visit: impl FnOnce(&mut Search<'_>) -> T) -> bool {
        let mut search = Search { names: self, found: false };
        visit(&mut search);
        search.found
    }
}

struct Search<'a> {
    names: &'a Names,
    found: bool,
}

impl<'ast> Visit<'ast> for Search<'_> {
    fn visit_path(&mut self, path: &'ast syn::Path) {
        self.found |= self.names.is_value(path);
        syn::visit::visit_path(self, path);
    }
}

struct Reader {
    names: Names,
    places: Vec<(usize, String)>,
}

impl Reader {
    fn items(&mut self, items: &[Item]) {
        for item in items {
            match item {
                Item::Fn(item) if is_public(&item.vis) => self.signature("", &item.sig),
                Item::Struct(item) if is_public(&item.vis) => {
                    self.fields(&format!("{}.", item.ident), &item.fields, is_public);
                }
                Item::Enum(item) if is_public(&item.vis) => {
                    for variant in &item.variants {
                        let name = format!("{}::{}", item.ident, variant.ident);
                        self.variant(&name, &variant.fields);
                    }
                }
                Item::Trait(item) if is_public(&item.vis) => self.of_trait(item),
                Item::Impl(item) if item.trait_.is_none() => self.of_impl(item),
                Item::Type(item) if is_public(&item.vis) => {
                    self.ty(item.ident.to_string(), &item.ident, &item.ty)
                }
                Item::Const(item) if is_public(&item.vis) => {
                    self.ty(item.ident.to_string(), &item.ident, &item.ty)
                }
                Item::Static(item) if is_public(&item.vis) => {
                    self.ty(item.ident.to_string(), &item.ident, &item.ty);
                }
                Item::Mod(item) => {
                    let inside = item.content.as_ref().map(|(_, items)| items.as_slice());
                    self.items(inside.unwrap_or_default());
                }
                _ => {}
            }
        }
    }

    fn ty(&mut self, name: String, place: &syn::Ident, ty: &Type) {
        if self.names.shows_value(|search| search.visit_type(ty)) {
            self.places.push((place.span().start().line, name));
        }
    }

    fn signature(&mut self, owner: &str, signature: &syn::Signature) {
        if self.names.shows_value(|search| search.visit_signature(signature)) {
            let line = signature.ident.span().start().line;
            self.places.push((line, format!("{owner}{}", signature.ident)));
        }
    }

    fn fields(&mut self, owner: &str, fields: &syn::Fields, shown: fn(&Visibility) -> bool) {
        for (index, field) in fields.iter().enumerate() {
            if shown(&field.vis) && self.names.shows_value(|search| search.visit_type(&field.ty)) {
                let name = field.ident.as_ref().map_or_else(|| index.to_string(), ToString::to_string);
                self.places.push((first_line(&field.ty), format!("{owner}{name}")));
            }
        }
    }

    /// All fields of a public variant are public; one finding stands for them.
    fn variant(&mut self, name: &str, fields: &syn::Fields) {
        let shown = fields.iter().find(|field| self.names.shows_value(|search| search.visit_type(&field.ty)));
        if let Some(field) = shown {
            self.places.push((first_line(&field.ty), name.to_owned()));
        }
    }

    fn of_trait(&mut self, item: &syn::ItemTrait) {
        for member in &item.items {
            if let TraitItem::Fn(method) = member {
                self.signature(&format!("{}::", item.ident), &method.sig);
            }
        }
    }

    fn of_impl(&mut self, item: &syn::ItemImpl) {
        let owner = match item.self_ty.as_ref() {
            Type::Path(path) => path.path.segments.last().map(|segment| segment.ident.to_string()),
            _ => None,
        };
        let owner = format!("{}::", owner.unwrap_or_default());
        for member in &item.items {
            match member {
                ImplItem::Fn(method) if is_public(&method.vis) => self.signature(&owner, &method.sig),
                ImplItem::Const(item) if is_public(&item.vis) => {
                    self.ty(format!("{owner}{}", item.ident), &item.ident, &item.ty);
                }
                _ => {}
            }
        }
    }
}

fn is_public(visibility: &Visibility) -> bool {
    matches!(visibility, Visibility::Public(_))
}

/// The line of the first name in a type that shows JSON, which therefore has one.
fn first_line(ty: &Type) -> usize {
    struct First(Option<usize>);
    impl<'ast> Visit<'ast> for First {
        fn visit_ident(&mut self, ident: &'ast syn::Ident) {
            self.0.get_or_insert(ident.span().start().line);
        }
    }
    let mut first = First(None);
    first.visit_type(ty);
    first.0.unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::super::testing;

    fn items(path: &str, text: &str) -> Vec<String> {
        testing::items(super::check, path, text)
    }

    #[test]
    fn json_in_a_public_signature_fails() {
        let check = |text: &str, item: &str| {
            assert_eq!(items("crates/amplifier-core/src/a.rs", text), [item], "{text}");
        };
        check("pub fn a(b: serde_json::Value) {}", "a");
        check("pub fn a() -> Result<serde_json::Map<String, serde_json::Value>, E> {}", "a");
        check("use serde_json::{Map, Value};\npub struct A { pub b: Map<String, Value> }", "A.b");
        check("use serde_json::Value as Json;\npub struct A(pub Vec<Json>);", "A.0");
        check("use serde_json::Value;\npub enum A { B { c: Value, d: Value }, E }", "A::B");
        check(
            "use serde_json::Value;\nimpl A { pub async fn b(&self) -> Value {} fn c(d: Value) {} }",
            "A::b",
        );
        check("use serde_json::Value;\npub trait A { fn b(&self, c: &Value); }", "A::b");
        check("use serde_json as json;\npub type A = json::Value;", "A");
        check("pub fn a<T: Into<serde_json::Value>>(b: T) {}", "a");
        check("mod b { pub fn a(c: serde_json::Value) {} }", "a");
    }

    #[test]
    fn what_is_private_typed_or_elsewhere_passes() {
        let check = |text: &str| assert!(items("crates/amplifier-core/src/a.rs", text).is_empty(), "{text}");
        check("use serde_json::Value;\nfn a(b: Value) {}\npub(crate) fn c(d: Value) {}");
        check("use serde_json::Value;\npub struct A { b: Value }\nstruct B { pub c: Value }");
        check("use other::Value;\npub fn a(b: Value) {}");
        check("impl From<serde_json::Value> for A { fn from(b: serde_json::Value) -> Self {} }");
        check("#[cfg(test)]\nmod tests { pub fn a(b: serde_json::Value) {} }");
        assert!(items("crates/amplifier-modules/src/a.rs", "pub fn a(b: serde_json::Value) {}").is_empty());
    }
}

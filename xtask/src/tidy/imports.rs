//! What a file imports, as whole paths.
//!
//! Guarantees: `use` trees are spread, wherever in the file they stand.

use syn::UseTree;
use syn::visit::Visit;

/// One imported path.
#[derive(Debug)]
pub(crate) struct Import {
    /// The whole path: `std::fs::File`. `*` at the end of a glob, nothing in place of `self`.
    pub(crate) path: String,
    /// The name under which it is known here.
    pub(crate) name: String,
    /// True for `as`.
    pub(crate) renamed: bool,
    /// Counted from 1.
    pub(crate) line: usize,
}

/// All `use` declarations of a file, wherever they stand, as whole paths.
pub(crate) fn imports(file: &syn::File) -> Vec<Import> {
    #[derive(Default)]
    struct Collect(Vec<Import>);
    impl<'ast> Visit<'ast> for Collect {
        fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
            spread(&item.tree, "", &mut self.0);
        }
    }
    let mut collect = Collect::default();
    collect.visit_file(file);
    collect.0
}

fn spread(tree: &UseTree, prefix: &str, out: &mut Vec<Import>) {
    let joined = |ident: &syn::Ident| match (prefix, ident.to_string().as_str()) {
        ("", name) => name.to_owned(),
        (prefix, "self") => prefix.to_owned(),
        (prefix, name) => format!("{prefix}::{name}"),
    };
    match tree {
        UseTree::Path(path) => spread(&path.tree, &joined(&path.ident), out),
        UseTree::Group(group) => group.items.iter().for_each(|tree| spread(tree, prefix, out)),
        UseTree::Name(name) => {
            let path = joined(&name.ident);
            let short = path.rsplit("::").next().unwrap_or_default().to_owned();
            out.push(Import { path, name: short, renamed: false, line: name.ident.span().start().line });
        }
        UseTree::Rename(rename) => out.push(Import {
            path: joined(&rename.ident),
            name: rename.rename.to_string(),
            renamed: true,
            line: rename.ident.span().start().line,
        }),
        UseTree::Glob(glob) => out.push(Import {
            path: format!("{prefix}::*"),
            name: "*".to_owned(),
            renamed: false,
            line: glob.star_token.span.start().line,
        }),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn trees_are_spread() {
        let file = syn::parse_file("use a::{self, b::{C as D, *}};\nfn f() { use e::g; }").unwrap();
        let all = super::imports(&file);
        let got: Vec<_> = all.iter().map(|i| (i.path.as_str(), i.name.as_str(), i.renamed, i.line)).collect();
        assert_eq!(
            got,
            [
                ("a", "a", false, 1),
                ("a::b::C", "D", true, 1),
                ("a::b::*", "*", false, 1),
                ("e::g", "g", false, 2)
            ]
        );
    }
}

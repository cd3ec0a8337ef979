//! Every function of a file with its lines.
//!
//! Guarantees: free functions, methods and default methods of traits, nested ones too.
//! Never those that a macro's body spells out.

use syn::visit::Visit;

/// One function with a body.
#[derive(Debug)]
pub(crate) struct Function {
    /// Its name.
    pub(crate) name: String,
    /// From the line of `fn` to the line of the closing brace, both counted.
    pub(crate) lines: std::ops::RangeInclusive<usize>,
}

impl Function {
    /// Number of lines.
    pub(crate) fn len(&self) -> usize {
        self.lines.end().saturating_sub(*self.lines.start()) + 1
    }
}

/// All functions of a file.
pub(crate) fn functions(file: &syn::File) -> Vec<Function> {
    #[derive(Default)]
    struct Collect(Vec<Function>);
    impl Collect {
        fn add(&mut self, signature: &syn::Signature, block: &syn::Block) {
            let start = signature.fn_token.span.start().line;
            let end = block.brace_token.span.close().end().line;
            self.0.push(Function { name: signature.ident.to_string(), lines: start..=end });
        }
    }
    impl<'ast> Visit<'ast> for Collect {
        fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
            self.add(&item.sig, &item.block);
            syn::visit::visit_item_fn(self, item);
        }
        fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
            self.add(&item.sig, &item.block);
            syn::visit::visit_impl_item_fn(self, item);
        }
        fn visit_trait_item_fn(&mut self, item: &'ast syn::TraitItemFn) {
            if let Some(block) = &item.default {
                self.add(&item.sig, block);
            }
            syn::visit::visit_trait_item_fn(self, item);
        }
    }
    let mut collect = Collect::default();
    collect.visit_file(file);
    collect.0
}

//! HTML as Markdown, for a model to read.
//!
//! Guarantees: time and memory grow with the length of the page, however broken or deep it is; scripts, styles
//! and what is not text are left out; links are whole addresses.
//! Never here: the network, and a picture of the page: what a style hides is text like all other.

mod entity;
mod render;
mod table;
mod token;

use reqwest::Url;

/// A page.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Page {
    pub(super) title: String,
    pub(super) text: String,
}

/// Reads a page that was found at `base`.
pub(super) fn markdown(html: &str, base: &Url) -> Page {
    let mut renderer = render::Renderer::new(base);
    for token in token::Tokens::new(html) {
        renderer.take(token);
    }
    renderer.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(html: &str, expect: &str) {
        let base = Url::parse("https://example.org/dir/page").unwrap();
        assert_eq!(markdown(html, &base).text, expect, "{html}");
    }

    #[test]
    fn blocks_become_markdown() {
        check("<h1>A  b</h1><p>One\n two</p><p>Three<br>four</p>", "# A b\n\nOne two\n\nThree\nfour");
        check("<h2>x <em>y</em></h2>text<hr>more", "## x *y*\n\ntext\n\n---\n\nmore");
        check("<blockquote><p>a</p><p>b</p></blockquote>c", "> a\n>\n> b\n\nc");
        check(
            "<pre><code class='language-rust'>fn a() {\n    b()\n}\n</code></pre>after",
            "```rust\nfn a() {\n    b()\n}\n```\n\nafter",
        );
        check("<pre>a\n\n  b</pre>", "```\na\n\n  b\n```");
        check("<dl><dt>Term</dt><dd>Meaning</dd></dl>", "Term\n: Meaning");
        check("<div><div>a</div><div>b</div></div>", "a\n\nb");
    }

    #[test]
    fn lists_nest_and_count() {
        check("<ul><li>a<li>b</ul>", "- a\n- b");
        check("<ol start=3><li>a</li><li>b</li></ol>", "3. a\n4. b");
        check("<ul><li>a<ul><li>b<ol><li>c</ol></ul><li>d</ul>e", "- a\n  - b\n    1. c\n- d\n\ne");
        check("<ul><li><p>a</p><p>b</p></li></ul>", "- a\n\n  b");
        check("<ul><li><pre>x\ny</pre></ul>", "- ```\n  x\n  y\n  ```");
    }

    #[test]
    fn inline_marks_hug_their_words() {
        check("a<b> bold </b>c", "a **bold** c");
        check("<p>Use <code>a  b</code>, <i>x</i>.</p>", "Use `a b`, *x*.");
        check("<b></b><a href=x></a><em> </em>z", "z");
        check("<del>old</del> <strong><em>new</em></strong>", "~~old~~ ***new***");
    }

    #[test]
    fn links_and_images_are_whole() {
        check("<a href='../x?a=1&amp;b=2'>go  there</a>", "[go there](https://example.org/x?a=1&b=2)");
        check("<a href='#top'>up</a> <a href='javascript:x()'>js</a> <a>none</a>", "up js none");
        check("<img src=/a.png alt='A b'> <img src=x>", "![A b](https://example.org/a.png)");
        check(
            "<a href=/><img src=i.png alt=Logo></a>",
            "[![Logo](https://example.org/dir/i.png)](https://example.org/)",
        );
    }

    #[test]
    fn tables_have_a_head() {
        check(
            "<table><thead><tr><th>A<th>B|c</thead><tr><td>1<td>two<br>lines</tr><tr><td>3</tr></table>x",
            "| A | B\\|c |\n| --- | --- |\n| 1 | two lines |\n| 3 | |\n\nx",
        );
        check("<table><tr><td>a<table><tr><td>in</table></td><td>b</table>", "| a in | b |\n| --- | --- |");
    }

    #[test]
    fn what_is_no_text_is_left_out() {
        check("a<script>if (x < 1) '</p>'</script>b<style>p{}</style><!-- <p>no</p> -->c", "abc");
        check(
            "<svg><title>no</title><text>no</text></svg>yes<template>no</template><noscript>no</noscript>",
            "yes",
        );
        check("a<script>never closed", "a");
        check("<p hidden>shown</p>", "shown");
    }

    #[test]
    fn a_title_and_entities_are_read() {
        let base = Url::parse("https://example.org/").unwrap();
        let page = markdown(
            "<head><title>A &amp; B\n</title></head><body>&lt;x&gt; &#65;&#x42; &copy;&nbsp;c &unknown; &amp</body>",
            &base,
        );
        assert_eq!((page.title.as_str(), page.text.as_str()), ("A & B", "<x> AB © c &unknown; &"));
    }

    #[test]
    fn broken_pages_end() {
        for html in [
            "<",
            "<a",
            "<a href",
            "<a href='",
            "</",
            "<!--",
            "<!",
            "<p <b>x",
            "a < b",
            "<>",
            "&",
            "&#",
            "&#xffffffff;",
        ] {
            let base = Url::parse("https://example.org/").unwrap();
            markdown(html, &base);
        }
        check("1 < 2 and <3", "1 < 2 and <3");
        let deep = "<div><ul><li><blockquote>".repeat(20_000);
        let base = Url::parse("https://example.org/").unwrap();
        assert!(markdown(&(deep + "x"), &base).text.len() < 4_000_000);
        let open = "<a href=x".repeat(50_000);
        markdown(&open, &base);
    }
}

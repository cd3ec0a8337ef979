//! What is written, and what is drawn of it.

use super::*;

/// Shown whole and character by character: both must come to the same.
fn shown(text: &str, width: usize) -> String {
    let mut whole = Markdown::new(width);
    let at_once = whole.push(text) + &whole.finish();
    let mut slow = Markdown::new(width);
    let mut pieces: String = text.chars().map(|c| slow.push(c.encode_utf8(&mut [0; 4]))).collect();
    pieces.push_str(&slow.finish());
    assert_eq!(pieces, at_once, "{text:?}");
    let colours = [(RESET, ""), (HEADING, "<h>"), (CODE, "<c>"), (DIM, "<d>"), ("\u{1b}[1m", "<b>")];
    let colours = colours.iter().chain(&[("\u{1b}[3m", "<i>"), ("\u{1b}[1;3m", "<bi>")]);
    colours.fold(at_once, |text, (code, name)| text.replace(code, name))
}

#[test]
fn blocks_are_shown_as_what_they_are() {
    let check = |text: &str, expect: &str| assert_eq!(shown(text, 40), expect, "{text:?}");
    check("plain text", "plain text\n");
    check("one\n\ntwo\n", "one\n\ntwo\n");
    check("# Title\ntext", "<h>Title\ntext\n");
    check("#hash", "#hash\n");
    check("- one\n- two\n  - three", "• one\n• two\n  • three\n");
    check("1. one\n10. two", "1. one\n10. two\n");
    check("3.14 is pi", "3.14 is pi\n");
    check("> said", "<d>│ said\n");
    check("---\n", "<d>────────────────────────────────────────\n");
    check("```rust\nlet a = *b;\n\n  x\n```\nafter", "<d>  rust\n  <c>let a = *b;\n\n  <c>  x\nafter\n");
    check("````\n```\n````\n", "  <c>```\n");
    check("`code` first", "<c>code first\n");
    check("", "");
}

#[test]
fn marks_are_marks_only_where_they_are_closed() {
    let check = |text: &str, expect: &str| assert_eq!(shown(text, 60), format!("{expect}\n"), "{text:?}");
    check("a **bold** word", "a <b>bold word");
    check("an *italic* word", "an <i>italic word");
    check("**bold and `code`**", "<b>bold <b>and <h>code");
    check("2 * 3 * 4", "2 * 3 * 4");
    check("**kwargs and *args", "**kwargs and *args");
    check("snake_case_name", "snake_case_name");
    check("_it_ is", "<i>it is");
    check("a `b", "a `b");
    check("``a ` b``", "<c>a <c>` <c>b");
    check(r"\*no\*", "*no*");
    check("see [docs](http://x/y) now", "see docs <d>(http://x/y) now");
    check("an [index] of", "an [index] of");
    check("x[1](", "x[1](");
}

#[test]
fn words_are_broken_between_lines_and_points_keep_their_indentation() {
    assert_eq!(shown("one two three four", 9), "one two\nthree\nfour\n");
    assert_eq!(shown("- one two three", 9), "• one two\n  three\n");
    assert_eq!(shown("日本 日本 日本", 9), "日本 日本\n日本\n");
    assert_eq!(shown("averyverylongword x", 8), "averyverylongword\nx\n");
}

#[test]
fn a_table_is_in_line_or_as_it_was_written() {
    let table = "| a | long |\n|---|:--:|\n| 1 | x \\| y |\n| 222 |\n";
    assert_eq!(shown(table, 40), "<b>a   │ long\n────┼──────\n1   │ x | y\n222 │\n");
    assert_eq!(shown(table, 9), table);
    assert_eq!(shown("| no table\nnext", 40), "| no table\nnext\n");
}

#[test]
fn words_are_shown_before_their_line_ends() {
    let mut markdown = Markdown::new(40);
    assert_eq!(markdown.push("Hello wor"), "Hello");
    assert_eq!(markdown.push("ld, **bo"), " world,");
    assert_eq!(markdown.push("ld** x "), " \u{1b}[1mbold\u{1b}[0m x");
    assert_eq!(markdown.push("\n"), "\n");
    assert_eq!(markdown.finish(), "");
}

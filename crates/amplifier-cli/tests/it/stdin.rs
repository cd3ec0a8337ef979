//! What standard input does to the prompt.

use std::fs::File;
use std::os::unix::net::UnixStream;
use std::process::Stdio;

use crate::kit::{Call, Place};

const ECHO: &str = "- text: 'got: {{prompt}}'";

#[test]
fn piped_text_is_the_prompt_or_stands_behind_it() {
    let place = Place::scripted(ECHO);
    let check = |args: &[&str], input: &str, expect: &str| {
        let mut all = vec!["run", "-B", "b"];
        all.extend(args);
        assert_eq!(place.call(&all).input(input).done().ok().stdout, expect, "{args:?} {input:?}");
    };
    check(&[], "do it\n", "got: do it\n");
    check(&["do"], "one\ntwo\n", "got: do\n\n<stdin>\none\ntwo\n</stdin>\n");
    check(&["do"], "", "got: do\n");
    check(&["do"], "\n \n", "got: do\n");
    place.call(&["run", "-B", "b"]).input("").done().code(2).says(&["there is no prompt"]);
}

#[test]
fn a_standard_input_that_nobody_fills_is_not_waited_for() {
    let place = Place::scripted(ECHO);
    let run = |call: Call| assert_eq!(call.done().ok().stdout, "got: do\n");
    let args = ["run", "-B", "b", "do"];
    run(place.call(&args).stdin(Stdio::null()));
    // It never ends, but it is neither pipe nor file.
    run(place.call(&args).stdin(File::open("/dev/zero").unwrap()));
}

#[test]
fn a_pipe_that_stays_open_is_waited_for_as_long_as_the_run_may_take() {
    let place = Place::scripted(ECHO);
    let (ours, theirs) = UnixStream::pair().unwrap();
    let theirs = std::os::fd::OwnedFd::from(theirs);
    let done = place.call(&["run", "-B", "b", "--timeout", "300ms", "do"]).stdin(theirs).done();
    done.code(124).says(&["waiting for standard input", "the time was up"]);
    drop(ours);
}

#[test]
fn a_file_is_read_whole_and_too_much_is_refused() {
    let place = Place::scripted(ECHO);
    place.write("prompt.txt", "from a file\n");
    let file = File::open(place.project().join("prompt.txt")).unwrap();
    assert_eq!(place.call(&["run", "-B", "b"]).stdin(file).done().ok().stdout, "got: from a file\n");
    let long = vec![b'x'; (10 << 20) + 1];
    let done = place.call(&["run", "-B", "b"]).input(long).done();
    done.code(2).says(&["standard input is longer than 10 MiB", "file"]);
    place.call(&["run", "-B", "b", "x"]).input(vec![0xff, b'a']).done().ok().says(&["no UTF-8"]);
}

#[test]
fn a_mention_counts_where_a_person_typed_it() {
    let place = Place::scripted(ECHO);
    place.write("notes.md", "the notes");
    let check = |args: &[&str], input: &str, expands: bool| {
        let mut all = vec!["run", "-B", "b"];
        all.extend(args);
        let stdout = place.call(&all).input(input).done().ok().stdout;
        assert_eq!(stdout.contains("the notes"), expands, "{args:?} {input:?}: {stdout}");
    };
    check(&["see @notes.md"], "", true);
    check(&["see @notes.md"], "piped", true);
    check(&["see"], "@notes.md", false);
    check(&[], "see @notes.md", false);
}

//! Trusted directories, and what counts only in them.

use crate::kit::Place;

#[test]
fn a_directory_is_trusted_listed_and_revoked() {
    let place = Place::new();
    let project = std::fs::canonicalize(place.project()).unwrap().display().to_string();
    assert_eq!(place.run(&["trust", "list"]).ok().stdout, "");
    place.run(&["trust"]).ok().says(&["trusted", &project]);
    assert_eq!(place.run(&["trust", "list"]).ok().stdout, format!("{project}\n"));
    place.run(&["trust", "revoke", "."]).ok().says(&["trusted no longer"]);
    assert_eq!(place.run(&["trust", "list"]).ok().stdout, "");
    place.run(&["trust", "revoke"]).code(2).says(&["is not on the list"]);
    place.run(&["trust", "/"]).code(2).says(&["cannot be trusted"]);
    place.run(&["trust", "nowhere"]).code(2).says(&["nowhere"]);
}

#[test]
fn rules_of_an_untrusted_project_widen_nothing_and_that_is_told_in_one_line() {
    let place = Place::scripted("- text: hello");
    place.write(".amplifier/settings.yaml", "permissions: {allow: ['shell(*)', 'write(/tmp/**)']}\n");
    let done = place.run(&["run", "-B", "b", "hi"]).ok().says(&["amplifier trust"]);
    assert_eq!(done.stderr.matches("amplifier trust").count(), 1, "{}", done.stderr);
    place.run(&["trust"]).ok();
    let done = place.run(&["run", "-B", "b", "hi"]).ok();
    assert!(!done.stderr.contains("ignored"), "{}", done.stderr);
}

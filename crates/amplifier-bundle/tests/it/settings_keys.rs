//! Keys from `keys.env` and the environment.

use std::fs;
use std::path::Path;

use amplifier_bundle::settings::environment::ProcessEnv;
use amplifier_bundle::settings::home::AmplifierHome;
use amplifier_bundle::settings::keys::{Keys, KeysError};
use amplifier_core::env::Variables;
use secrecy::ExposeSecret;

const SECRET: &str = "sk-very-secret-value";

fn write_keys(home: &Path, text: &str, mode: u32) {
    use std::os::unix::fs::PermissionsExt;
    fs::write(home.join("keys.env"), text).unwrap();
    fs::set_permissions(home.join("keys.env"), fs::Permissions::from_mode(mode)).unwrap();
}

fn load(home: &Path, process: &[(&str, &str)]) -> Result<Keys, KeysError> {
    Keys::load(&AmplifierHome::at(home), ProcessEnv::from_pairs(process.iter().copied()))
}

#[test]
fn the_environment_wins_over_the_file() {
    let home = tempfile::tempdir().unwrap();
    write_keys(home.path(), "A=file\nB=file\nB=later\nEMPTY=\n", 0o600);
    let keys = load(home.path(), &[("A", "process"), ("B", ""), ("C", "process")]).unwrap();
    for (name, expect) in
        [("A", Some("process")), ("B", Some("later")), ("C", Some("process")), ("EMPTY", None)]
    {
        assert_eq!(keys.get(name).as_deref(), expect, "{name}");
    }
    assert!(keys.warnings().is_empty());
    assert!(std::env::var("B").is_err(), "the file never reaches the environment");
}

#[test]
fn a_missing_file_is_no_fault() {
    let home = tempfile::tempdir().unwrap();
    let keys = load(home.path(), &[("A", "process")]).unwrap();
    assert_eq!(keys.get("A").as_deref(), Some("process"));
    assert_eq!(keys.names().count(), 0);
}

#[test]
fn a_file_that_others_may_read_gives_a_warning_with_the_command() {
    let home = tempfile::tempdir().unwrap();
    for (mode, warned) in [(0o600, false), (0o400, false), (0o640, true), (0o604, true), (0o644, true)] {
        write_keys(home.path(), "A=1", mode);
        let keys = load(home.path(), &[]).unwrap();
        let text: String = keys.warnings().iter().map(ToString::to_string).collect();
        let command = format!("chmod 600 {}", home.path().join("keys.env").display());
        assert_eq!(text.contains(&command), warned, "{mode:o}: {text}");
    }
}

#[test]
fn a_damaged_file_is_an_error_with_its_line_and_without_its_values() {
    let home = tempfile::tempdir().unwrap();
    for bad in [SECRET.to_owned(), format!("A='{SECRET}"), format!("A=\"{SECRET}\"x"), format!("{SECRET}=1")]
    {
        write_keys(home.path(), &format!("# keys\n\n{bad}\n"), 0o600);
        let error = load(home.path(), &[]).unwrap_err();
        let text = format!("{error} {error:?}");
        assert!(text.contains("keys.env:3: "), "{text}");
        assert!(!text.contains(SECRET), "{text}");
    }
    fs::write(home.path().join("keys.env"), b"A=\xff").unwrap();
    assert!(matches!(load(home.path(), &[]), Err(KeysError::Read(_))));
}

#[test]
fn no_value_shows_in_debug() {
    let home = tempfile::tempdir().unwrap();
    write_keys(home.path(), &format!("FROM_FILE={SECRET}"), 0o600);
    let keys = load(home.path(), &[("FROM_PROCESS", SECRET)]).unwrap();
    let text = format!("{keys:?} {keys:#?}");
    assert!(text.contains("FROM_FILE") && text.contains("FROM_PROCESS"), "{text}");
    assert!(!text.contains(SECRET), "{text}");
}

#[test]
fn the_redactor_gets_what_is_secret_and_nothing_else() {
    let home = tempfile::tempdir().unwrap();
    let file =
        "ANTHROPIC_API_KEY=sk-ant-0123\nOTHER=hidden-thing\nOPENAI_BASE_URL=http://127.0.0.1:1\nPIN_KEY=12\n";
    write_keys(home.path(), file, 0o600);
    let process = [
        ("GITHUB_TOKEN", "ghp_0123456"),
        ("DB_PASSWORD", "correct horse"),
        ("OPENAI_APIKEY", "sk-oai-0123"),
        ("HOME", "/home/somebody"),
        ("KEYBOARD", "a-long-layout"),
        ("SSH_KEY_PATH", "/home/somebody/.ssh/id"),
    ];
    let keys = load(home.path(), &process).unwrap();
    let mut secrets: Vec<String> =
        keys.known_secrets().iter().map(|secret| secret.expose_secret().to_owned()).collect();
    secrets.sort();
    assert_eq!(secrets, ["correct horse", "ghp_0123456", "hidden-thing", "sk-ant-0123", "sk-oai-0123"]);
}

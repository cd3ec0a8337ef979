//! `amplifier provider` and `amplifier init`: what is written, and whether anybody answers.

use std::os::unix::fs::PermissionsExt;

use serde_json::{Value, json};

use crate::kit::Place;
use crate::services::{answer, serve, text};
use crate::terminal::at_terminal;

fn settings(place: &Place) -> String {
    std::fs::read_to_string(place.home().join("settings.yaml")).unwrap_or_default()
}

fn keys(place: &Place) -> String {
    let path = place.home().join("keys.env");
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "{}", path.display());
    std::fs::read_to_string(path).unwrap()
}

fn row<'a>(listed: &'a Value, name: &str) -> &'a Value {
    listed.as_array().unwrap().iter().find(|row| row["name"] == name).unwrap()
}

#[test]
fn a_provider_is_added_listed_and_removed_and_comments_stay() {
    let place = Place::new();
    place.write_home("settings.yaml", "# mine\nlimits: {max_turns: 9} # few\n");
    let add = [
        "provider",
        "add",
        "openai-compatible",
        "--id",
        "lab",
        "--base-url",
        "http://127.0.0.1:9/v1",
        "-m",
        "m1",
    ];
    place.run(&add).ok().says(&["lab is configured in", "settings.yaml"]);
    place.run(&add).ok().says(&["configured so already"]);
    place.call(&["provider", "add", "anthropic", "--key-stdin"]).input("sk-very-secret\n").done().ok();
    assert_eq!(keys(&place), "ANTHROPIC_API_KEY=sk-very-secret\n");
    let written = settings(&place);
    assert!(written.starts_with("# mine\nlimits: {max_turns: 9} # few\nconfig:\n"), "{written}");
    assert!(!written.contains("sk-very"), "{written}");
    let done = place.run(&["provider", "list", "--json"]).ok();
    assert!(!done.stdout.contains("sk-very"), "{done:#?}");
    let listed = done.json();
    assert_eq!(
        (&row(&listed, "lab")["model"], &row(&listed, "lab")["has_key"]),
        (&json!("m1"), &json!(true))
    );
    assert_eq!(row(&listed, "anthropic")["key"], "key from ANTHROPIC_API_KEY");
    assert_eq!(row(&listed, "gemini")["configured_by"], Value::Null);
    assert_eq!(row(&listed, "gemini")["key"], "missing: GEMINI_API_KEY");

    place
        .run(&[
            "provider",
            "add",
            "openai-compatible",
            "--id",
            "lab",
            "--base-url",
            "http://127.0.0.1:9/v1",
            "-m",
            "m2",
        ])
        .ok();
    let listed = place.run(&["provider", "list", "--json"]).ok().json();
    assert_eq!(row(&listed, "lab")["model"], "m2");
    place.run(&["provider", "remove", "lab"]).ok().says(&["lab is forgotten"]);
    place.run(&["provider", "remove", "lab"]).code(2).says(&["no provider is configured as `lab`"]);
    place.run(&["provider", "remove", "anthropic"]).ok();
    assert_eq!(settings(&place), "# mine\nlimits: {max_turns: 9} # few\n");
}

#[test]
fn what_is_wrong_is_told_before_anything_is_written() {
    let place = Place::new();
    place.run(&["provider", "add", "opnai"]).code(2).says(&["did you mean `openai`?"]);
    place.run(&["provider", "add", "openai-compatible", "-m", "m"]).code(2).says(&["--base-url"]);
    let url = ["provider", "add", "openai-compatible", "--base-url", "http://127.0.0.1:9"];
    place.run(&url).code(2).says(&["--model"]);
    place
        .call(&["provider", "add", "openai", "--key-stdin"])
        .input(" \n")
        .done()
        .code(2)
        .says(&["holds no key"]);
    assert_eq!(settings(&place), "");
    place.run(&["provider", "add", "openai", "--project"]).ok().says(&["OPENAI_API_KEY is not set"]);
    assert!(place.project().join(".amplifier/settings.yaml").is_file());
    place.run(&["provider", "models", "nobody"]).code(2).says(&["there is no provider `nobody`"]);
}

#[test]
fn a_provider_that_answers_is_told_from_one_that_does_not() {
    let models = json!({"data": [{"id": "m1"}, {"id": "m2"}]}).to_string();
    let (url, _requests) = serve(vec![answer("200 OK", "application/json", &models)]);
    let place = Place::new();
    place.run(&["provider", "add", "openai-compatible", "--base-url", &url, "-m", "m1"]).ok();
    let listed = place.run(&["provider", "models", "--json"]).ok().json();
    let ids: Vec<&Value> =
        listed["provider-openai-compatible"].as_array().unwrap().iter().map(|one| &one["id"]).collect();
    assert_eq!(ids, ["m1", "m2"]);
    let told = place.run(&["provider", "test", "--json"]).ok().json();
    assert_eq!((&told[0]["ok"], &told[0]["told"]), (&json!(true), &json!("lists 2 models")));

    let (url, _requests) = serve(vec![text("ok")]);
    place.run(&["provider", "add", "openai-compatible", "--base-url", &url, "-m", "m1"]).ok();
    let told = place.run(&["provider", "test", "--call", "--json"]).ok().json();
    assert_eq!((&told[0]["ok"], &told[0]["told"]), (&json!(true), &json!("answers: ok")));
    assert_eq!(place.sessions(), Vec::<String>::new(), "a test leaves no session");

    let refused = json!({"error": {"message": "bad key"}}).to_string();
    let (url, _requests) = serve(vec![answer("401 Unauthorized", "application/json", &refused)]);
    place.run(&["provider", "add", "openai-compatible", "--base-url", &url, "-m", "m1"]).ok();
    for more in [&[][..], &["--call"]] {
        let done = place.run(&[&["provider", "test"], more].concat()).code(1);
        assert!(done.stdout.contains("failed") && done.stdout.contains("401"), "{done:#?}");
    }
    place.run(&["provider", "models"]).code(1).says(&["401"]);

    // Somebody who takes the call and never answers.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/v1", silent.local_addr().unwrap());
    place.run(&["provider", "add", "openai-compatible", "--base-url", &url, "-m", "m1"]).ok();
    let done = place.run(&["provider", "test", "--timeout", "300ms"]).code(1);
    assert!(done.stdout.contains("did not answer within 300ms"), "{done:#?}");
    let done = place.run(&["provider", "test", "--call", "--timeout", "300ms"]).code(1);
    assert!(done.stdout.contains("failed"), "{done:#?}");
}

#[test]
fn init_takes_what_it_finds_where_nobody_can_be_asked() {
    let place = Place::new();
    let nothing = place.run(&["init"]).code(2);
    for part in ["no key of a provider was found", "ANTHROPIC_API_KEY", "OPENAI_API_KEY", "keys.env"] {
        assert!(nothing.stderr.contains(part), "{nothing:#?}");
    }
    assert_eq!(settings(&place), "");
    place
        .call(&["init", "--yes"])
        .env("OPENAI_API_KEY", "sk-very-secret")
        .done()
        .ok()
        .says(&["openai", "ready"]);
    let written = settings(&place);
    assert!(written.contains("module: provider-openai") && !written.contains("sk-very"), "{written}");
    assert!(!place.home().join("keys.env").exists(), "the environment's own key stays there");
    let again = place.call(&["init"]).env("ANTHROPIC_API_KEY", "sk-other-secret").done().ok();
    again.says(&["is configured already", "stays as it is"]);
    assert_eq!(settings(&place), written);
}

#[test]
fn init_asks_a_person_and_does_not_show_the_key() {
    let place = Place::scripted("[{text: hello}]");
    let typed = [
        ("which [1]: ", "openai\n"),
        ("(not shown): ", "sk-typed-secret\n"),
        ("the model [", "\n"),
        ("named [default]: ", "b\n"),
    ];
    let (code, screen) = at_terminal(&place, &["init"], &typed, false);
    assert_eq!(code, Some(0), "{screen}");
    assert!(!screen.contains("sk-typed-secret"), "{screen}");
    assert_eq!(keys(&place), "OPENAI_API_KEY=sk-typed-secret\n");
    let written = settings(&place);
    assert!(written.contains("provider-openai") && written.contains("active: b"), "{written}");
    let (code, screen) = at_terminal(&place, &["init"], &[("[y/N] ", "n\n")], false);
    assert_eq!(code, Some(0), "{screen}");
    assert_eq!(settings(&place), written);
    // The end of input is no answer.
    let other = Place::new();
    let (code, screen) = at_terminal(&other, &["init"], &[("which [1]: ", "\u{4}")], false);
    assert_eq!(code, Some(1), "{screen}");
    assert!(screen.contains("nothing was written"), "{screen}");
    assert_eq!(settings(&other), "");
}

//! Changes to settings files.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use amplifier_bundle::bundle::yaml;
use amplifier_bundle::redact::SecretValue;
use amplifier_bundle::settings::edit::{Change, EditError, edit};
use amplifier_bundle::settings::keys_edit::set_key;
use amplifier_bundle::settings::{ProjectTrust, Scope, SettingsError};

use amplifier_core::ModuleSpec;

use crate::settings::World;

const ACTIVE: &[&str] = &["bundle", "active"];
const APP: &[&str] = &["bundle", "app"];
const MINE: &[&str] = &["bundle", "added", "mine"];

fn use_bundle(value: &'static str) -> Change<'static> {
    Change::Set { path: ACTIVE, value }
}

fn add(value: &'static str) -> Change<'static> {
    Change::Set { path: MINE, value }
}

fn change(world: &World, change: &Change<'_>) -> Result<bool, EditError> {
    edit(&world.home(), &world.files(), Scope::User, change)
}

/// The text after the change.
fn after(text: &str, what: &Change<'_>) -> String {
    let world = World::new();
    world.write(Scope::User, text);
    assert!(change(&world, what).unwrap(), "{what:?} changes\n{text}");
    assert!(!change(&world, what).unwrap(), "{what:?} twice changes nothing\n{text}");
    fs::read_to_string(world.path("home/settings.yaml")).unwrap()
}

const PROVIDERS: &[&str] = &["config", "providers"];

fn provider(id: Option<&str>, model: &str) -> ModuleSpec {
    let mut spec = ModuleSpec::new("provider-openai");
    spec.id = id.map(str::to_owned);
    spec.config.insert("default_model".into(), model.into());
    spec.config.insert("priority".into(), 7.into());
    spec
}

#[test]
fn a_module_is_put_into_its_list_and_the_others_stay_as_they_are() {
    let lab = provider(Some("lab"), "m");
    let put = Change::Module { path: PROVIDERS, spec: &lab };
    let check =
        |text: &str, what: &Change<'_>, expect: &str| assert_eq!(after(text, what), expect, "{what:?}");
    let own =
        "  - module: provider-openai\n    id: lab\n    config:\n      default_model: m\n      priority: 7\n";
    let indented = own.replace('\n', "\n  ");
    let indented = format!("  {}\n", indented.trim_end());
    check("", &put, &format!("config:\n  providers:\n{indented}"));
    check("a: 1 # one\n", &put, &format!("a: 1 # one\nconfig:\n  providers:\n{indented}"));
    let others = "# mine\nconfig:\n  providers:\n  # first\n  - module: provider-anthropic # why\n";
    check(&format!("{others}# end\n"), &put, &format!("{others}{own}# end\n"));
    let old = "  - {module: provider-openai, id: lab, config: {default_model: old}}\n";
    let last = "  # last\n  - provider-gemini\n";
    check(&format!("{others}{old}{last}"), &put, &format!("{others}{own}{last}"));
    let take = Change::RemoveModule { path: PROVIDERS, key: "lab" };
    check(&format!("{others}{own}{last}"), &take, &format!("{others}{last}"));
    check(&format!("a: 1\nconfig:\n  providers:\n{own}b: 2\n"), &take, "a: 1\nb: 2\n");
    let bare = Change::RemoveModule { path: PROVIDERS, key: "provider-gemini" };
    check(&format!("{others}{last}"), &bare, &format!("{others}  # last\n"));
    let world = World::new();
    world.write(Scope::User, "config: {providers: text}\n");
    let error = change(&world, &put).unwrap_err();
    assert!(error.to_string().contains("make it a list first"), "{error}");
}

#[test]
fn a_key_is_put_into_its_line_and_the_file_is_private() {
    let check = |before: Option<&str>, name: &str, value: &str, expect: Result<&str, &str>| {
        let world = World::new();
        let file = world.home().keys_file();
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        if let Some(before) = before {
            fs::write(&file, before).unwrap();
        }
        let done = set_key(&world.home(), name, &SecretValue::from(value.to_owned()));
        match (done, expect) {
            (Ok(()), Ok(expect)) => {
                assert_eq!(fs::read_to_string(&file).unwrap(), expect);
                assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
            }
            (Err(error), Err(part)) => {
                let said = error.to_string();
                assert!(said.contains(part) && (value.is_empty() || !said.contains(value)), "{said}");
                assert_eq!(fs::read_to_string(&file).ok().as_deref(), before);
            }
            (got, _) => panic!("{name}={value} gave {got:?}"),
        }
    };
    check(None, "A_KEY", "sk-1", Ok("A_KEY=sk-1\n"));
    let others = "# mine\nexport OTHER='x'\n";
    check(
        Some(&format!("{others}A_KEY=old # why\n")),
        "A_KEY",
        "n e$w\"",
        Ok(&format!("{others}A_KEY=\"n e\\$w\\\"\"\n")),
    );
    check(Some("A_KEY=old\n"), "A KEY", "secret-value", Err("no name of a variable"));
    check(Some("A_KEY=old\n"), "A_KEY", "secret\nvalue", Err("control character"));
    check(Some("A_KEY=old\n"), "A_KEY", "", Err("is empty"));
    check(Some("what is this\n"), "A_KEY", "secret-value", Err("keys.env:1: the line has no `=`"));
}

#[test]
fn only_the_lines_of_the_setting_change() {
    let check =
        |text: &str, what: &Change<'_>, expect: &str| assert_eq!(after(text, what), expect, "{what:?}");
    check("", &use_bundle("a"), "bundle:\n  active: a\n");
    check("# mine\n", &use_bundle("a"), "# mine\nbundle:\n  active: a\n");
    check(
        "bundle:\n  active: old # why\n  app: [x]\n# end\n",
        &use_bundle("new"),
        "bundle:\n  active: new # why\n  app: [x]\n# end\n",
    );
    check("bundle:\n    active: 'o # d' # why\n", &use_bundle("new"), "bundle:\n    active: new # why\n");
    check("bundle: old # why\n", &use_bundle("new"), "bundle:\n  active: new\n");
    check(
        "bundle: {active: old, app: [x]} # why\n",
        &use_bundle("new"),
        "bundle: {active: new, app: [x]} # why\n",
    );
    check(
        "a: 1\n\n# of b\nbundle:\n  # of app\n  app:\n  - x\n\n# of c\nlimits: {}\n",
        &use_bundle("new"),
        "a: 1\n\n# of b\nbundle:\n  # of app\n  app:\n  - x\n  active: new\n\n# of c\nlimits: {}\n",
    );
    check("limits: {max_turns: 5}", &use_bundle("new"), "limits: {max_turns: 5}\nbundle:\n  active: new\n");
    check(
        "bundle:\n  active: x\n  added:\n    other: o # c\n# end",
        &add("./m"),
        "bundle:\n  active: x\n  added:\n    other: o # c\n    mine: ./m\n# end",
    );
    check(
        "bundle:\n  active: x\nlimits: {}\n",
        &add("./m"),
        "bundle:\n  active: x\n  added:\n    mine: ./m\nlimits: {}\n",
    );
}

#[test]
fn keys_and_items_are_removed_with_the_maps_that_they_leave_empty() {
    let check =
        |text: &str, what: &Change<'_>, expect: &str| assert_eq!(after(text, what), expect, "{what:?}");
    let clear = Change::Unset { path: ACTIVE };
    let forget = Change::Unset { path: MINE };
    let drop = Change::Remove { path: APP, value: "x" };
    check("# top\nbundle:\n  active: a\n\n# limits\nlimits: {}\n", &clear, "# top\n\n# limits\nlimits: {}\n");
    check("bundle:\n  active: a # c\n  app: [x]\n", &clear, "bundle:\n  app: [x]\n");
    check("bundle:\n  added:\n    mine: m\n    o: p\n", &forget, "bundle:\n  added:\n    o: p\n");
    check("bundle:\n  added:\n    mine: m\n  active: a\n", &forget, "bundle:\n  active: a\n");
    check("bundle:\n  added:\n    mine: m\n", &forget, "");
    check("bundle:\n  app:\n    - x # c\n    - w # d\n", &drop, "bundle:\n  app:\n    - w # d\n");
    check("bundle:\n  app: [x, w]\nz: 1\n", &drop, "bundle:\n  app:\n    - w\nz: 1\n");
    check("bundle:\n  app: [x]\nz: 1\n", &drop, "z: 1\n");
}

#[test]
fn items_are_added_once_at_the_end_of_a_list() {
    let check =
        |text: &str, expect: &str| assert_eq!(after(text, &Change::Append { path: APP, value: "x" }), expect);
    check("", "bundle:\n  app:\n    - x\n");
    check(
        "bundle:\n  app:\n  - a # c\n  # end\n  active: b\n",
        "bundle:\n  app:\n  - a # c\n  - x\n  # end\n  active: b\n",
    );
    check("bundle:\n  app: [a]\n# end\n", "bundle:\n  app:\n    - a\n    - x\n# end\n");
    check("bundle: old\n", "bundle:\n  active: old\n  app:\n    - x\n");
}

#[test]
fn odd_files_keep_every_other_setting() {
    let texts = [
        "{bundle: {active: old}, limits: {max_turns: 5}, provider: p}",
        "x: &a {k: [1, 2]}\nbundle: {active: *b}\n",
        "base: &base\n  active: old\n  app: [q]\nbundle: *base\nlimits: {max_turns: 5}\n",
        "bundle:\n  <<: {active: old, app: [q]}\nprovider: p\n",
        "bundle:\n  active: >-\n    a long\n    name\n  added: {o: p}\nconfig:\n  x: |\n    # no comment\n\n    bundle:\n      active: z\n",
        "bundle:\n  active:\nlimits:\n  max_budget_usd: 1.10\n",
        "\"bundle\":\n  \"active\": \"o\\\"ld\"\n'limits': {max_turns: 5}\n",
        "---\nbundle:\n  active: old\n...\n",
        "bundle:\r\n  active: old # c\r\nprovider: p\r\n",
        "\u{feff}bundle: {active: old}\nprovider: p\n",
        "bundle:\n  active: ä # ö\n  added: {ü: 'it''s'}\n",
        "? bundle\n: active: old\nprovider: p\n",
    ];
    let mut read = 0;
    for text in texts {
        let parse = |text: &str| yaml::from_str::<serde_json::Value>(text, Path::new("f"));
        let Ok(mut expect) = parse(text) else { continue };
        read += 1;
        let got = parse(&after(text, &use_bundle("new"))).unwrap();
        match &mut expect["bundle"] {
            serde_json::Value::Object(map) => map.insert("active".into(), "new".into()),
            other => panic!("{other}"),
        };
        assert_eq!(got, expect, "{text}");
    }
    assert!(read >= 9, "{read}");
}

#[test]
fn any_text_can_be_a_value() {
    let values = [
        "git+https://example.org/x@main#subdirectory=a/b.md",
        "yes",
        "null",
        "1.10",
        "~",
        "a: b",
        "a #b",
        "- a",
        "",
        " a ",
        "ä\n\"q\" \\",
        "[x]",
        "*a",
        "x:",
        "@ns:a",
        "=",
        "0x1f",
        "1e3",
        ".5",
        "-.inf",
        "../x",
        "C:\\x",
        "\u{7f}\u{85}\u{2028}",
    ];
    for value in values {
        let text = after("a: 1 # c\nbundle: {added: {o: p}}\n", &Change::Set { path: MINE, value });
        let json: serde_json::Value = yaml::from_str(&text, Path::new("f")).unwrap();
        assert_eq!(json["bundle"]["added"]["mine"], value, "{text}");
        assert!(text.starts_with("a: 1 # c\n"), "{text}");
    }
}

#[test]
fn a_file_that_is_no_map_or_no_yaml_is_left_as_it_is() {
    for (text, expect) in [
        ("- a\n", "`bundle` is a list; make it a map first"),
        ("bundle: [a]\n", "settings.yaml:1: `bundle` is a list; make it a map first"),
        ("bundle: {added: 5}\n", "`added` is a number; make it a map first"),
        ("bundle: {a\n", "repair the file first"),
    ] {
        let world = World::new();
        world.write(Scope::User, text);
        let error = change(&world, &add("m")).unwrap_err().to_string();
        assert!(error.contains(expect), "{error}");
        assert_eq!(fs::read_to_string(world.path("home/settings.yaml")).unwrap(), text);
    }
    let world = World::new();
    world.write(Scope::User, "bundle: {app: x}\n");
    let error = change(&world, &Change::Append { path: APP, value: "y" }).unwrap_err().to_string();
    assert!(error.contains("`app` is text; make it a list first"), "{error}");
}

#[test]
fn what_is_written_is_what_load_reads() {
    let world = World::new();
    fs::remove_dir_all(world.path("project/.amplifier")).unwrap();
    for (scope, name) in [(Scope::User, "u"), (Scope::Project, "p"), (Scope::Local, "l")] {
        let what = Change::Set { path: ACTIVE, value: name };
        assert!(edit(&world.home(), &world.files(), scope, &what).unwrap());
        let settings = world.load(ProjectTrust::Untrusted).unwrap();
        let bundle = settings.bundle.unwrap();
        assert_eq!((bundle.value.as_str(), bundle.by.scope()), (name, scope));
    }
    let none = edit(&world.home(), &world.files(), Scope::Flag, &use_bundle("x"));
    assert!(matches!(none, Err(EditError::NoFile { scope: Scope::Flag })));
    let broken: Result<_, SettingsError> = world.write(Scope::Local, "a: [").load(ProjectTrust::Untrusted);
    assert!(broken.is_err());
}

#[test]
fn modes_and_links_stay() {
    let world = World::new();
    let mode = |name: &str| fs::metadata(world.path(name)).unwrap().permissions().mode() & 0o777;
    change(&world, &use_bundle("a")).unwrap();
    assert_eq!(mode("home/settings.yaml"), 0o600);
    fs::write(world.path("dotfile.yaml"), "bundle: x\n").unwrap();
    fs::remove_file(world.path("home/settings.yaml")).unwrap();
    symlink(world.path("dotfile.yaml"), world.path("home/settings.yaml")).unwrap();
    fs::set_permissions(world.path("dotfile.yaml"), fs::Permissions::from_mode(0o600)).unwrap();
    change(&world, &use_bundle("b")).unwrap();
    assert!(fs::symlink_metadata(world.path("home/settings.yaml")).unwrap().is_symlink());
    assert_eq!(fs::read_to_string(world.path("dotfile.yaml")).unwrap(), "bundle:\n  active: b\n");
    assert_eq!(mode("dotfile.yaml"), 0o600);
}

#[test]
fn threads_that_edit_at_once_lose_nothing() {
    let world = World::new();
    std::thread::scope(|scope| {
        for number in 0..8 {
            let world = &world;
            scope.spawn(move || {
                let name = format!("n{number}");
                let what = Change::Set { path: &["bundle", "added", &name], value: "uri" };
                change(world, &what).unwrap();
            });
        }
    });
    assert_eq!(world.load(ProjectTrust::Trusted).unwrap().added_bundles.len(), 8);
}

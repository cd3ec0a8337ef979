//! `amplifier` with what users and disks do to it: what it says, how it exits, and that nothing is lost.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use amplifier_tests::process::{call_foreman, run};
use amplifier_tests::project::{TempProject, shape, transcript};

fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

const SCRIPTED: &str = "session: {orchestrator: loop-streaming, context: context-simple}\n\
    providers: [{module: provider-scripted, config: {script: [{text: 'you said {{prompt}}'}]}}]\n";

/// A project with a bundle `b` and a session `s` of one turn.
fn with_session() -> TempProject {
    let project = TempProject::new();
    project.bundle("b", format!("---\nbundle: {{name: b}}\n{SCRIPTED}---\nYou are tested.\n"));
    run(&project, ["run", "-B", "b", "--session-id", "s", "one"]).exits(0);
    project
}

const ONE: &str = "u:one a:you said one";

#[test]
fn a_bundle_that_cannot_be_read_is_told_with_its_place() {
    let bomb: String = (1..30).fold("a0: &a0 [x]\n".to_owned(), |text, level| {
        let below = level - 1;
        text + &format!("a{level}: &a{level} [*a{below}, *a{below}, *a{below}, *a{below}, *a{below}]\n")
    });
    let deep = format!("bundle: {{name: deep}}\nextra: {}{}\n", "[".repeat(5_000), "]".repeat(5_000));
    for (name, text, says) in [
        ("bomb", format!("---\nbundle: {{name: bomb}}\n{bomb}---\n"), "bomb.md"),
        ("deep", format!("---\n{deep}---\n"), "deep.md"),
        ("open", "---\nbundle: {name: open}\nno end\n".to_owned(), "open.md"),
        ("tabs", "---\nbundle:\n\tname: tabs\n---\n".to_owned(), "tabs.md:"),
        ("list", "---\n- 1\n---\n".to_owned(), "list.md"),
        ("tools", "---\nbundle: {name: tools}\ntools: bash\n---\n".to_owned(), "tools"),
    ] {
        let project = TempProject::new();
        project.bundle(name, text);
        let done = run(&project, ["run", "-B", name, "hi"]).exits(2).says(&["error:", says]);
        assert!(done.stderr.len() < 2_000, "{name}: {}", done.stderr);
        assert!(done.stdout.is_empty() && project.sessions().is_empty(), "{name}");
    }
}

#[test]
fn an_include_that_leads_nowhere_is_a_warning_or_with_strictness_an_error() {
    for (include, says) in [
        ("./not-there.md", "not-there.md does not exist"),
        ("./stray.md", "includes form a circle"),
        ("unknown:thing", "no bundle `unknown` is known"),
        ("git+https://127.0.0.1:1/x/y@-upload-pack=touch", "begins with `-`"),
        ("git+file:///nowhere@--output=owned", "begins with `-`"),
        ("git+https://127.0.0.1:1/x/y", "could not be fetched"),
    ] {
        let project = TempProject::new();
        let text =
            format!("---\nbundle: {{name: stray}}\nincludes: [{{bundle: \"{include}\"}}]\n{SCRIPTED}---\n");
        project.bundle("stray", text);
        let done = run(&project, ["run", "-B", "stray", "--strict", "hi"]).exits(2);
        let done = done.says(&["stray.md:3:", "error:", says]);
        assert!(done.stdout.is_empty() && project.sessions().is_empty(), "{include}");
        let done =
            run(&project, ["run", "-B", "stray", "hi"]).exits(0).says(&["stray.md:3:", "warning:", says]);
        assert_eq!(done.stdout, "you said hi\n", "{include}");
        assert!(!project.path().join("owned").exists());
    }
}

#[test]
fn a_session_id_leads_out_of_no_folder() {
    let project = with_session();
    for id in ["../s", "..", "a/b", "", "a\u{0}b", "-x/../../y", "a\nb"] {
        if id.contains('\0') {
            continue;
        }
        for args in [vec!["run", "-B", "b", "--session-id"], vec!["run", "--resume"], vec!["session", "show"]]
        {
            let mut args = args;
            let flag = args.pop().unwrap();
            let joined = format!("{flag}={id}");
            match flag.starts_with("--") {
                true => args.extend([joined.as_str(), "hi"]),
                false => args.extend([flag, "--", id]),
            }
            run(&project, &args).exits(2).says(&["error:"]);
        }
    }
    assert_eq!(project.sessions().len(), 1);
    assert_eq!(shape(&transcript(&project.session())), ONE);
}

#[test]
fn a_damaged_line_is_told_with_its_place_and_nothing_is_changed() {
    let project = with_session();
    let path = project.session().join("transcript.jsonl");
    let text = std::fs::read_to_string(&path).unwrap().replacen("\"role\"", "role", 1);
    std::fs::write(&path, &text).unwrap();
    run(&project, ["continue", "two"]).exits(1).says(&["transcript.jsonl:1 is damaged", "mend that line"]);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
}

#[test]
fn a_torn_tail_is_cut_off_told_and_kept_beside() {
    let project = with_session();
    let path = project.session().join("transcript.jsonl");
    let mut text = std::fs::read_to_string(&path).unwrap();
    text.push_str("{\"role\":\"user\",\"content\":\"tw");
    std::fs::write(&path, &text).unwrap();
    let done = run(&project, ["continue", "two"]).exits(0);
    assert_eq!(done.stderr.matches("is torn").count(), 1, "{}", done.stderr);
    assert_eq!(shape(&transcript(&project.session())), format!("{ONE} u:two a:you said two"));
    let kept = std::fs::read_to_string(project.session().join("transcript.jsonl.torn-1")).unwrap();
    assert_eq!(kept, "{\"role\":\"user\",\"content\":\"tw");
}

#[test]
fn damaged_metadata_is_told_and_the_list_still_shows_the_session() {
    let project = with_session();
    std::fs::write(project.session().join("metadata.json"), "{\"session_id\": ").unwrap();
    run(&project, ["run", "--resume", "s", "two"]).exits(1).says(&["metadata.json", "damaged"]);
    let listed = run(&project, ["session", "list", "--json"]).exits(0).json();
    assert_eq!(listed[0]["status"], "damaged");
}

#[test]
fn a_home_that_cannot_be_written_is_told_before_a_model_is_asked() {
    let project = with_session();
    if nix::unistd::Uid::effective().is_root() {
        // Root may write anywhere: a file in the place of a folder stops root as well.
        std::fs::rename(project.home(), project.around().join("away")).unwrap();
        std::fs::write(project.home(), "no folder").unwrap();
    } else {
        std::fs::set_permissions(project.home(), std::fs::Permissions::from_mode(0o500)).unwrap();
    }
    let done = run(&project, ["run", "-B", "b", "two"]).says(&["error:"]);
    assert!(matches!(done.code, Some(1 | 2)) && done.stdout.is_empty(), "{done:?}");
}

#[test]
fn a_full_disk_is_told_and_what_was_kept_goes_on() {
    let Some(disk) = SmallDisk::mount() else {
        return amplifier_tests::skipped(
            "a_full_disk_is_told_and_what_was_kept_goes_on",
            "no tmpfs can be mounted",
        );
    };
    let project = TempProject::new();
    project.bundle("b", format!("---\nbundle: {{name: b}}\n{SCRIPTED}---\n"));
    let on_disk = |args: &[&str]| {
        amplifier_tests::process::call(&project, args).env("AMPLIFIER_HOME", disk.path()).done()
    };
    on_disk(&["run", "-B", "b", "--session-id", "s", "one"]).exits(0);
    let filler = disk.path().join("filler");
    disk.fill(&filler);
    let done = on_disk(&["run", "--resume", "s", "two"]).exits(1).says(&["free some space"]);
    assert!(done.stdout.is_empty(), "{}", done.stdout);
    on_disk(&["run", "-B", "b", "new"]).exits(1).says(&["free some space"]);
    std::fs::remove_file(filler).unwrap();
    assert_eq!(on_disk(&["run", "--resume", "s", "three"]).exits(0).stdout, "you said three\n");
    let shown = on_disk(&["session", "show", "s", "--json"]).exits(0).json();
    let kept = transcript(Path::new(shown["path"].as_str().unwrap()));
    let kept = shape(&kept);
    assert!(kept.starts_with(ONE) && kept.ends_with("u:three a:you said three"), "{kept}");
}

/// A tmpfs of one mebibyte.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn mount() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let mut mount = std::process::Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=1m", "tmpfs"]).arg(folder.path());
        let mounted = mount.stderr(std::process::Stdio::null()).status().is_ok_and(|status| status.success());
        mounted.then_some(Self(folder))
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn fill(&self, file: &Path) {
        use std::io::Write;
        let mut file = std::fs::File::create(file).unwrap();
        while file.write_all(&[0; 4_096]).is_ok() {}
        while file.write_all(&[0; 1]).is_ok() {}
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg("-l").arg(self.path()).status();
    }
}

#[test]
fn the_example_hello_answers_from_its_script_turn_after_turn() {
    let project = TempProject::new();
    let bundle = workspace().join("docs/examples/hello");
    let done =
        run(&project, ["run", "-B", bundle.to_str().unwrap(), "hi"]).exits(0).says(&["no model is asked"]);
    assert_eq!(done.stdout, "Hello! You said: hi\n");
    let done = run(&project, ["continue", "and now?"]).exits(0);
    assert!(done.stdout.contains("turn two"), "{}", done.stdout);
}

#[test]
fn the_example_code_review_searches_and_reads_its_sample() {
    let project = TempProject::new();
    let example = workspace().join("docs/examples/code-review");
    let args = ["run", "-C", example.to_str().unwrap(), "-B", ".", "Review sample/"];
    let done = run(&project, args).exits(0);
    assert!(done.stdout.contains("sample/orders.py:7"), "{}", done.stdout);
    let messages = transcript(&project.session());
    let results: Vec<&str> = messages
        .iter()
        .filter(|message| message["role"] == "tool")
        .map(|message| message["content"].as_str().unwrap())
        .collect();
    assert_eq!(results.len(), 2, "{messages:?}");
    assert!(results[0].contains("orders.py") && results[1].contains("except"), "{results:?}");
}

#[test]
fn the_example_local_model_works_with_a_server_at_its_address() {
    use amplifier_tests::server::{Reply, Server};
    let text = std::fs::read_to_string(workspace().join("docs/examples/local-model/bundle.md")).unwrap();
    let server =
        Server::start([Reply::Call("glob", serde_json::json!({"pattern": "*.txt"})), Reply::Say("one file")]);
    let project = TempProject::new();
    project.write("a.txt", "a");
    project.bundle("local", text.replace("http://127.0.0.1:8080/v1", &server.url()));
    assert_eq!(run(&project, ["run", "-B", "local", "Which files?"]).exits(0).stdout, "one file\n");
    let asked = server.requests()[1]["messages"].to_string();
    assert!(asked.contains("a.txt"), "{asked}");
}

#[test]
fn the_example_issues_gives_each_issue_its_worker() {
    let project = TempProject::new();
    for name in ["bundle.md", "issues.jsonl"] {
        project.write(name, std::fs::read(workspace().join("docs/examples/issues").join(name)).unwrap());
    }
    let done = call_foreman(&project, ["run", "issues.jsonl", "-B", ".", "--json"]).done().exits(0);
    let told: Vec<String> =
        done.json_lines().iter().map(|line| format!("{}: {}", line["issue_id"], line["response"])).collect();
    let text = told.join("\n");
    assert!(text.contains("\"parser\": \"The year is optional"), "{text}");
    assert!(text.contains("\"tests\": \"Three tests") && text.contains("\"docs\": null"), "{text}");
}

#[test]
fn the_example_guarded_loads_its_skill_and_asks_its_guard() {
    let project = TempProject::new();
    let root = workspace().display().to_string();
    let args = ["run", "-C", root.as_str(), "-B", "./docs/examples/guarded", "Release 1.2"];
    let done = run(&project, args).exits(0);
    assert!(done.stdout.contains("- All tests pass."), "{}", done.stdout);
    let told = std::fs::read_to_string(project.session().join("transcript.jsonl")).unwrap();
    assert!(told.contains("Skill release") && told.contains("references/checklist.md"), "{told}");
    assert!(!done.stderr.contains("hooks-shell"), "{}", done.stderr);
}

#[test]
fn the_example_mcp_is_sound() {
    let bundle = workspace().join("docs/examples/mcp/bundle.yaml");
    let project = TempProject::new();
    run(&project, ["bundle", "validate", bundle.to_str().unwrap()]).exits(0);
    let shown = run(&project, ["bundle", "show", bundle.to_str().unwrap(), "--json"]).exits(0).stdout;
    assert!(shown.contains("tool-mcp") && shown.contains("server-everything"), "{shown}");
}

/// Each example is run by one of the tests above, or where it says so.
#[test]
fn every_example_is_tested() {
    let folder = std::fs::read_dir(workspace().join("docs/examples")).unwrap();
    let mut names: Vec<String> = folder
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| !name.contains('.'))
        .collect();
    names.sort();
    assert_eq!(
        names,
        [
            "chain",
            // With an agent that is not the real one: `amplifier_cli::it::external`.
            "claude-worker",
            "code-review",
            "crew",
            "delegate",
            "guarded",
            "hello",
            "issues",
            "local-model",
            // Its server comes from the network: a run of it is for a person.
            "mcp",
            "nightly",
            "pipeline"
        ]
    );
}

//! Preparing bundles: names, agents, prompts, what is kept and when it is read anew.

use std::sync::Arc;

use amplifier_bundle::bundle::{BundleError, NameOrigin, PreparedBundle};
use amplifier_bundle::mention::FailureReason;

use crate::source_kit::{Lab, commit, noticed, repository, tools, write};

const MINIMAL: &str = "bundle: {name: x}\ntools: [{module: TOOL}]\n";

fn with_tool(tool: &str) -> String {
    MINIMAL.replace("TOOL", tool)
}

#[tokio::test]
async fn names_are_looked_up_in_order() {
    let mut lab = Lab::new(&[]);
    let added = lab.path("added");
    write(&added, &[("bundle.yaml", &with_tool("added"))]);
    for name in ["x", "default", "foundation"] {
        lab.options.added.insert(name.into(), added.display().to_string());
    }
    let places = [
        (
            "home/registry.json",
            format!("{{\"bundles\":{{\"r\":{{\"uri\":\"file://{}\"}}}}}}", added.display()),
            "r",
            "added",
        ),
        ("unused", String::new(), "x", "added"),
        ("home/bundles/x.yaml", with_tool("user"), "x", "user"),
        ("project/.amplifier/bundles/x/bundle.yaml", with_tool("project"), "x", "project"),
        ("project/x/bundle.yaml", with_tool("path"), "x", "path"),
    ];
    for (file, text, name, expect) in places {
        write(&lab.path(""), &[(file, &text)]);
        assert_eq!(tools(&lab.prepare(name).await.unwrap()), [expect], "{file}");
    }
    assert_eq!(tools(&lab.prepare("default").await.unwrap()), ["added"]);
    assert_eq!(tools(&lab.prepare("foundation").await.unwrap()), ["added"]);
    let names = lab.loader().names();
    let origin = |name: &str| names.iter().find(|(known, _)| known == name).unwrap().1;
    assert_eq!(origin("x"), NameOrigin::Project);
    assert_eq!(origin("r"), NameOrigin::Registered);
    assert_eq!(origin("anchors"), NameOrigin::WellKnown);
}

#[tokio::test]
async fn an_unknown_name_suggests_near_ones() {
    let mut lab = Lab::new(&[]);
    lab.options.added.insert("code-review".into(), "/nowhere".into());
    let error = lab.prepare("code-reveiw").await.unwrap_err();
    assert_eq!(error.to_string(), "there is no bundle `code-reveiw`; did you mean `code-review`");
    let error = lab.prepare("zzzzzz").await.unwrap_err().to_string();
    assert!(error.contains("amplifier bundle list"), "{error}");
}

#[tokio::test]
async fn names_that_stand_for_each_other_are_refused() {
    let mut lab = Lab::new(&[]);
    lab.options.added.insert("a".into(), "b".into());
    lab.options.added.insert("b".into(), "a".into());
    assert!(matches!(lab.prepare("a").await, Err(BundleError::AliasLoop { .. })));
}

#[tokio::test]
async fn a_well_known_name_is_not_fetched_offline() {
    let mut lab = Lab::new(&[]);
    lab.options.offline = true;
    let error = lab.prepare("anchors").await.unwrap_err();
    assert!(error.to_string().contains("fetching is switched off"), "{error}");
    assert!(lab.notices.lock().unwrap().is_empty());
}

#[tokio::test]
async fn fetching_a_name_is_told_once_in_one_line() {
    let mut lab = Lab::new(&[]);
    let repo = repository(&lab.path("repo"), "main", &[("bundle.yaml", &with_tool("t"))]);
    lab.options.added.insert("kit".into(), format!("git+file://{}", repo.display()));
    lab.prepare("kit").await.unwrap();
    lab.prepare("kit").await.unwrap();
    let expect = format!("fetching kit from git+file://{}", repo.display());
    assert_eq!(*lab.notices.lock().unwrap(), [expect]);
}

#[tokio::test]
async fn a_damaged_registry_is_an_error_when_it_is_needed() {
    let lab = Lab::new(&[]);
    write(&lab.path("home"), &[("registry.json", "{")]);
    assert!(lab.prepare("default").await.is_ok());
    let error = lab.prepare("foundation").await.unwrap_err().to_string();
    assert!(error.contains("registry.json is damaged"), "{error}");
    assert_eq!(std::fs::read_to_string(lab.path("home/registry.json")).unwrap(), "{");
}

#[tokio::test]
async fn sources_that_are_not_supported_say_what_to_use() {
    for source in ["zip+https://h.io/b.zip", "https://h.io/b.md"] {
        let error = Lab::new(&[]).prepare(source).await.unwrap_err().to_string();
        assert!(error.contains("not supported yet") && error.contains("use git+https://"), "{error}");
    }
}

#[tokio::test]
async fn the_built_in_bundle_needs_no_disk_and_is_lean() {
    let mut lab = Lab::new(&[]).strict();
    lab.options.offline = true;
    let loader = lab.loader();
    let default = loader.prepare("default").await.unwrap();
    assert_eq!(
        tools(&default),
        ["tool-filesystem", "tool-bash", "tool-search", "tool-todo", "tool-delegate"]
    );
    let hooks: Vec<&str> = default.plan.hooks.iter().map(|hook| hook.module.as_str()).collect();
    assert_eq!(hooks, ["hooks-logging", "hooks-redaction", "hooks-streaming-ui"]);
    assert_eq!(default.plan.orchestrator().unwrap().module, "loop-streaming");
    assert_eq!(default.plan.context().unwrap().module, "context-simple");
    assert!(default.plan.providers.is_empty());
    assert_eq!(default.agents.keys().collect::<Vec<_>>(), ["default:builder", "default:explorer"]);
    for agent in default.agents.values() {
        assert!(agent.description.is_some() && agent.instruction.is_some());
    }
    let prompt = default.system_prompt(&lab.path("project"), None).render().text;
    assert!(!prompt.is_empty() && prompt.len() <= 480, "{} bytes", prompt.len());
    assert_eq!(loader.files_opened(), 0);
    write(&lab.path("project"), &[("AGENTS.md", "tabs, never spaces")]);
    assert!(default.system_prompt(&lab.path("project"), None).render().text.contains("tabs, never spaces"));
    assert!(default.diagnostics.is_empty(), "{:?}", default.diagnostics);
}

#[tokio::test]
async fn an_agents_file_fills_gaps_and_never_overrides() {
    let lab = Lab::new(&[
        (
            "bundle.yaml",
            "bundle: {name: kit}\nagents:\n  include: [kit:a, b, kit:absent, kit:bad]\n  c: {description: inline}\n",
        ),
        ("agents/a.md", "---\nmeta: {name: a, description: from file}\ntools: [{module: t}]\n---\nbody of a"),
        ("agents/b.md", "---\nname: b\ndescription: flat\n---\nbody of b"),
        ("agents/c.md", "---\nmeta: {name: c, description: from file}\n---\nbody of c"),
        ("agents/bad.md", "---\nmeta: {name: [\n---\nx"),
    ]);
    let kit = lab.prepare(".").await.unwrap();
    assert_eq!(kit.agents.keys().collect::<Vec<_>>(), ["b", "c", "kit:a"]);
    let agent = |name: &str| {
        let agent = &kit.agents[name];
        (agent.description.as_deref().unwrap(), agent.instruction.as_deref().unwrap())
    };
    assert_eq!(agent("kit:a"), ("from file", "body of a"));
    let said = kit.plan.provenance.of("agents.kit:a");
    let said: Vec<_> =
        said.iter().map(|origin| (&*origin.bundle, origin.file.file_name().unwrap())).collect();
    assert_eq!(said, [("kit", "bundle.yaml".as_ref()), ("kit", "a.md".as_ref())]);
    assert_eq!(agent("b"), ("flat", "body of b"));
    assert_eq!(agent("c"), ("inline", "body of c"));
    assert_eq!(kit.agents["kit:a"].base_path.as_deref(), Some(lab.path("project/agents").as_path()));
    let noticed = noticed(&kit).join("\n");
    assert!(noticed.contains("agent `kit:absent` is left out"), "{noticed}");
    assert!(noticed.contains("the file of agent `kit:bad` has errors"), "{noticed}");
    assert!(lab.strict().prepare(".").await.is_err());
}

#[tokio::test]
async fn agents_of_an_included_bundle_come_from_its_own_folder() {
    let lab = Lab::new(&[
        ("bundle.yaml", "bundle: {name: a}\nincludes: [./kit, ./kit/behaviors/more.yaml]\n"),
        ("kit/bundle.yaml", "bundle: {name: kit}\nagents: {include: [helper]}\n"),
        (
            "kit/behaviors/more.yaml",
            "bundle: {name: more, namespace_root: ..}\nagents: {include: [second]}\n",
        ),
        ("kit/agents/helper.md", "---\nmeta: {name: helper, description: d}\n---\nx"),
        ("kit/agents/second.md", "---\nmeta: {name: second, description: d}\n---\nx"),
    ]);
    let a = lab.prepare(".").await.unwrap();
    assert_eq!(a.agents.keys().collect::<Vec<_>>(), ["helper", "second"], "{:?}", a.diagnostics);
}

#[tokio::test]
async fn the_prompt_is_instruction_context_and_mentions_as_of_now() {
    let lab = Lab::new(&[
        (
            "kit/bundle.md",
            "---\nbundle: {name: kit}\ncontext: {include: [ctx/a.md, \"kit:ctx/b.md\"], short: ctx/c.md}\n---\nBe good, see @AGENTS.md and @kit:short",
        ),
        ("kit/ctx/a.md", "A"),
        ("kit/ctx/b.md", "B"),
        ("kit/ctx/c.md", "C"),
        ("AGENTS.md", "first"),
    ]);
    let loader = lab.loader();
    let kit = loader.prepare("./kit").await.unwrap();
    let source = kit.system_prompt(&lab.path("project"), None);
    let opened = loader.files_opened();
    let text = source.render().text;
    let position = |part: &str| text.find(part).unwrap_or_else(|| panic!("{part}: {text}"));
    assert!(text.starts_with("Be good"));
    assert!(position("\nA\n") < position("\nB\n") && position("\nB\n") < position("\nfirst\n"));
    assert_eq!(text.matches("\nC\n").count(), 1);
    assert_eq!(source.render().text, text);
    assert_eq!(loader.files_opened(), opened + 1, "only AGENTS.md is new, and it is opened once");
    write(&lab.path("project"), &[("AGENTS.md", "second version")]);
    assert!(source.render().text.contains("second version"));
}

#[tokio::test]
async fn a_missing_context_file_is_a_warning() {
    let lab = Lab::new(&[("bundle.yaml", "bundle: {name: a}\ncontext: {include: [nope.md, \"b:x\"]}\n")]);
    let noticed = noticed(&lab.prepare(".").await.unwrap()).join("\n");
    assert!(
        noticed.contains("nope.md does not exist") && noticed.contains("no bundle `b` is known"),
        "{noticed}"
    );
    assert!(lab.strict().prepare(".").await.is_err());
}

#[tokio::test]
async fn an_unchanged_bundle_is_the_same_one_and_a_changed_one_is_not() {
    let lab = Lab::new(&[
        ("bundle.yaml", "bundle: {name: a}\nincludes: [./b.yaml, ./late.yaml]\nagents: {include: [x]}\n"),
        ("b.yaml", &with_tool("old")),
        ("agents/x.md", "---\nmeta: {name: x, description: d}\n---\nbody"),
    ]);
    let loader = lab.loader();
    let first = loader.prepare(".").await.unwrap();
    let opened = loader.files_opened();
    assert!(Arc::ptr_eq(&first, &loader.prepare(".").await.unwrap()));
    assert_eq!(loader.files_opened(), opened);
    let changes = [
        ("b.yaml", with_tool("newer")),
        ("agents/x.md", "---\nmeta: {name: x, description: d}\n---\nnew body".to_owned()),
        ("late.yaml", with_tool("late")),
    ];
    let mut last = first;
    for (file, text) in changes {
        let opened = loader.files_opened();
        write(&lab.path("project"), &[(file, &text)]);
        assert!(!last.is_current(), "{file}");
        let next = loader.prepare(".").await.unwrap();
        assert_ne!(next.content_hash, last.content_hash, "{file}");
        assert_eq!(loader.files_opened(), opened + 1, "{file}");
        last = next;
    }
    assert_eq!(tools(&last), ["late"].map(|_| "newer").iter().copied().chain(["late"]).collect::<Vec<_>>());
}

#[tokio::test]
async fn the_content_hash_does_not_depend_on_the_place() {
    let files = [("bundle.yaml", "bundle: {name: a}\nincludes: [./b.yaml]\n"), ("b.yaml", MINIMAL)];
    let (here, there) = (Lab::new(&files), Lab::new(&files));
    let hash = here.prepare(".").await.unwrap().content_hash.clone();
    assert_eq!(hash, there.prepare(".").await.unwrap().content_hash);
    assert_eq!(hash.len(), 64);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_tasks_that_want_one_bundle_load_it_once() {
    let lab = Lab::new(&[]);
    let repo = repository(&lab.path("repo"), "main", &[("bundle.yaml", &with_tool("t"))]);
    let loader = Arc::new(lab.loader());
    let source = format!("git+file://{}@main", repo.display());
    let tasks: Vec<_> = (0..4)
        .map(|_| {
            let (loader, source) = (Arc::clone(&loader), source.clone());
            tokio::spawn(async move { loader.prepare(&source).await.unwrap() })
        })
        .collect();
    let mut all = Vec::new();
    for task in tasks {
        all.push(task.await.unwrap());
    }
    assert!(all.iter().all(|one| Arc::ptr_eq(one, &all[0])));
    assert_eq!(loader.files_opened(), 1);
}

#[tokio::test]
async fn an_updated_repository_is_read_anew() {
    let lab = Lab::new(&[]);
    let repo = repository(&lab.path("repo"), "main", &[("bundle.yaml", &with_tool("old"))]);
    let loader = lab.loader();
    let source = format!("git+file://{}@main", repo.display());
    assert_eq!(tools(&loader.prepare(&source).await.unwrap()), ["old"]);
    write(&repo, &[("bundle.yaml", &with_tool("new"))]);
    commit(&repo);
    let Ok(amplifier_bundle::source::SourceUri::Git(uri)) = source.parse() else { panic!("{source}") };
    loader.git().update(&uri).await.unwrap();
    assert_eq!(tools(&loader.prepare(&source).await.unwrap()), ["new"]);
}

#[tokio::test]
async fn a_hundred_files_are_opened_once_each() {
    let includes: String = (0..60).map(|n| format!("  - ./b/{n}.yaml\n")).collect();
    let agents: String = (0..39).map(|n| format!("    - kit:a{n}\n")).collect();
    let root = format!("bundle: {{name: kit}}\nincludes:\n{includes}agents:\n  include:\n{agents}");
    let mut files = vec![("bundle.yaml".to_owned(), root)];
    for n in 0..60 {
        // Every file includes its neighbours' common base too.
        let text = format!(
            "bundle: {{name: b{n}}}\nincludes: [./{}.yaml]\ntools: [{{module: t{n}}}]\n",
            (n / 2) * 2
        );
        files.push((format!("b/{n}.yaml"), text.replace(&format!("includes: [./{n}.yaml]\n"), "")));
    }
    for n in 0..39 {
        files.push((
            format!("agents/a{n}.md"),
            format!("---\nmeta: {{name: a{n}, description: d}}\n---\nbody {n}"),
        ));
    }
    let files: Vec<(&str, &str)> = files.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
    let lab = Lab::new(&files);
    let loader = lab.loader();
    let kit = loader.prepare(".").await.unwrap();
    assert_eq!((kit.plan.tools.len(), kit.agents.len()), (60, 39));
    assert!(kit.diagnostics.is_empty(), "{:?}", kit.diagnostics);
    assert_eq!((loader.files_opened(), kit.files.len()), (100, 100));
    assert!(Arc::ptr_eq(&kit, &loader.prepare(".").await.unwrap()));
    assert_eq!(loader.files_opened(), 100);
}

#[tokio::test]
async fn a_bundle_in_memory_is_prepared_with_and_without_a_loader() {
    let text = "---\nbundle: {name: mem}\nincludes: [./b.yaml]\ntools: [{module: t}]\n---\nHello";
    let alone = PreparedBundle::from_str("mem", text).unwrap();
    assert_eq!((tools(&alone), alone.instruction.as_deref()), (vec!["t"], Some("Hello")));
    assert!(noticed(&alone)[0].contains("`./b.yaml` is left out"), "{:?}", alone.diagnostics);
    let yaml = PreparedBundle::from_str("mem", &with_tool("y")).unwrap();
    assert_eq!(tools(&yaml), ["y"]);
    assert!(PreparedBundle::from_str("mem", "---\ntools: {]\n---\n").is_err());
    let lab = Lab::new(&[("b.yaml", &with_tool("included"))]);
    let loader = lab.loader();
    let whole = loader.prepare_text("mem", text).await.unwrap();
    assert_eq!(tools(&whole), ["included", "t"]);
    assert!(Arc::ptr_eq(&whole, &loader.prepare_text("mem", text).await.unwrap()), "it is kept");
    let other = loader.prepare_text("mem", &with_tool("y")).await.unwrap();
    assert_eq!(tools(&other), ["y"], "another text of the name");
    loader.prepare_text("mem", text).await.unwrap();
    std::fs::write(lab.path("project/b.yaml"), with_tool("another")).unwrap();
    let changed = loader.prepare_text("mem", text).await.unwrap();
    assert_eq!(tools(&changed), ["another", "t"], "what it includes has changed");
}

#[tokio::test]
async fn broken_files_are_one_error_with_file_and_line() {
    let lab = Lab::new(&[("bundle.yaml", "bundle: {name: a}\ntools: yes\n")]);
    let error = lab.prepare(".").await.unwrap_err();
    assert!(error.to_string().contains("bundle.yaml:2:"), "{error}");
    assert!(!error.diagnostics().is_empty());
}

#[tokio::test]
async fn relative_sources_begin_in_the_working_directory_and_names_in_the_project() {
    let mut lab =
        Lab::new(&[("sub/x.yaml", &with_tool("path")), (".amplifier/bundles/n.yaml", &with_tool("name"))]);
    lab.options.cwd = lab.path("project/sub");
    assert_eq!(tools(&lab.prepare("x.yaml").await.unwrap()), ["path"]);
    assert_eq!(tools(&lab.prepare("./x.yaml").await.unwrap()), ["path"]);
    assert_eq!(tools(&lab.prepare("n").await.unwrap()), ["name"]);
}

#[tokio::test]
async fn a_mention_of_a_fetched_bundle_does_not_lead_out_of_its_checkout() {
    let lab = Lab::new(&[]);
    write(&lab.path("home"), &[("secret.md", "SECRET")]);
    write(&lab.path("project"), &[("AGENTS.md", "PROJECT @~/secret.md")]);
    let secret = lab.path("home/secret.md");
    let ways = format!("@~/secret.md @{} @x/../../home/secret.md", secret.display());
    write(&lab.path("project/x"), &[("y", "")]);
    let body = "---\nbundle: {name: kit}\nagents: {include: [w]}\ncontext: {include: [ctx/a.md]}\n---\n\
        @kit:link.md @kit:ok.md WAYS";
    let context = "see @../../../secret.md and @./near.md WAYS";
    let agent = "---\nmeta: {name: w, description: d}\n---\nWAYS @./w.md";
    let [body, context, agent] = [body, context, agent].map(|text| text.replace("WAYS", &ways));
    let repo = repository(
        &lab.path("repo"),
        "main",
        &[
            ("bundle.md", &body),
            ("ok.md", "FINE"),
            ("ctx/a.md", &context),
            ("ctx/near.md", "NEAR"),
            ("agents/w.md", &agent),
        ],
    );
    std::os::unix::fs::symlink(lab.path("home/secret.md"), repo.join("link.md")).unwrap();
    commit(&repo);
    let kit = lab.prepare(&format!("git+file://{}", repo.display())).await.unwrap();
    let home = || Some(lab.path("home"));
    let rendered = kit.system_prompt(&lab.path("project"), home()).render();
    let text = &rendered.text;
    assert!(text.contains("FINE") && text.contains("NEAR") && !text.contains("SECRET"), "{text}");
    let outside: Vec<&str> = (rendered.expansion.failed.iter())
        .filter(|failed| failed.reason == FailureReason::OutsideCheckout)
        .map(|failed| failed.mention.as_str())
        .collect();
    assert_eq!(outside.join(" "), ways);
    let agent = kit.agent_prompt(&kit.agents["w"], &lab.path("project"), home()).render();
    assert!(!agent.text.contains("SECRET"), "{}", agent.text);
    // A file of the project stays free to mention what it likes, also when a bundle leads to it.
    let text = kit.mentions(&lab.path("project"), home()).prepend("@AGENTS.md").text;
    assert!(text.contains("PROJECT") && text.contains("SECRET"), "{text}");
}

#[tokio::test]
async fn an_include_of_a_fetched_bundle_does_not_lead_out_of_its_checkout() {
    let mut lab = Lab::new(&[]);
    lab.options.user_home = Some(lab.path("home"));
    write(&lab.path("home"), &[("x.yaml", &with_tool("secret"))]);
    let x = lab.path("home/x.yaml");
    for include in ["~/x.yaml".to_owned(), x.display().to_string(), format!("file://{}", x.display())] {
        let text = format!("bundle: {{name: kit}}\nincludes: ['{include}']\n");
        let name = format!("repo{}", include.len());
        let repo = repository(&lab.path(&name), "main", &[("bundle.yaml", &text)]);
        let fetched = lab.prepare(&format!("git+file://{}", repo.display())).await.unwrap();
        assert_eq!(tools(&fetched), [""; 0], "{include}");
        let notes = noticed(&fetched).join("\n");
        assert!(notes.contains("leads out of") && notes.contains("x.yaml"), "{notes}");
        let local = lab.prepare(&repo.display().to_string()).await.unwrap();
        assert_eq!(tools(&local), ["secret"], "{include}");
    }
}

#[tokio::test]
async fn the_prompt_of_an_agent_is_its_own() {
    let lab = Lab::new(&[
        ("bundle.md", "---\nbundle: {name: kit}\nagents: {include: [x]}\n---\nof the bundle"),
        ("agents/x.md", "---\nmeta: {name: x, description: d}\n---\nof the agent @./more.md @AGENTS.md"),
        ("agents/more.md", "beside it"),
        ("AGENTS.md", "of the project"),
    ]);
    let kit = lab.prepare(".").await.unwrap();
    let text = kit.agent_prompt(&kit.agents["x"], &lab.path("project"), None).render().text;
    assert!(text.starts_with("of the agent") && !text.contains("of the bundle"), "{text}");
    assert!(text.contains("beside it") && text.contains("of the project"), "{text}");
}

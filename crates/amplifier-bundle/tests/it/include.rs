//! Includes: order, diamonds, circles, namespaces, and what happens to what is missing.

use amplifier_bundle::bundle::{BundleError, Severity};

use crate::source_kit::{Lab, commit, noticed, repository, tools, write};

fn bundle(name: &str, includes: &[&str], tool: &str) -> String {
    let includes: String = includes.iter().map(|source| format!("  - bundle: \"{source}\"\n")).collect();
    let includes = if includes.is_empty() { String::new() } else { format!("includes:\n{includes}") };
    format!("bundle:\n  name: {name}\n{includes}tools:\n  - module: {tool}\n")
}

#[tokio::test]
async fn what_is_listed_first_comes_first_and_the_including_bundle_wins() {
    let lab = Lab::new(&[
        (
            "a.md",
            "---\nbundle: {name: a}\nincludes: [./b.yaml, ./c.yaml]\ntools: [{module: t, config: {from: a}}]\n---\nI am a",
        ),
        ("b.yaml", "bundle: {name: b}\ntools: [{module: tb}, {module: t, config: {from: b, b: 1}}]\n"),
        ("c.yaml", "bundle: {name: c}\ntools: [{module: tc}, {module: t, config: {from: c, c: 1}}]\n"),
    ]);
    let a = lab.prepare("a.md").await.unwrap();
    assert_eq!(tools(&a), ["tb", "t", "tc"]);
    assert_eq!(serde_json::json!(a.plan.tools[1].config), serde_json::json!({"from": "a", "b": 1, "c": 1}));
    assert_eq!((a.name.as_str(), a.instruction.as_deref()), ("a", Some("I am a")));
    assert!(a.diagnostics.is_empty(), "{:?}", a.diagnostics);
}

#[tokio::test]
async fn a_diamond_is_read_once() {
    let lab = Lab::new(&[
        ("a.yaml", &bundle("a", &["./b.yaml", "./c.yaml"], "ta")),
        ("b.yaml", &bundle("b", &["./sub/../d.yaml"], "tb")),
        ("c.yaml", &bundle("c", &["./d.yaml"], "tc")),
        ("d.yaml", &bundle("d", &[], "td")),
    ]);
    let loader = lab.loader();
    std::fs::create_dir(lab.path("project/sub")).unwrap();
    let a = loader.prepare("./a.yaml").await.unwrap();
    assert_eq!(tools(&a), ["td", "tb", "tc", "ta"]);
    assert_eq!((loader.files_opened(), a.files.len()), (4, 4));
}

#[tokio::test]
async fn a_circle_is_cut_and_reported_with_its_chain() {
    let files = [
        ("a.yaml", bundle("a", &["./b.yaml"], "ta")),
        ("b.yaml", bundle("b", &["./c.yaml"], "tb")),
        ("c.yaml", bundle("c", &["./a.yaml"], "tc")),
    ];
    let files: Vec<_> = files.iter().map(|(name, text)| (*name, text.as_str())).collect();
    let a = Lab::new(&files).prepare("./a.yaml").await.unwrap();
    assert_eq!(tools(&a), ["tc", "tb", "ta"]);
    let noticed = noticed(&a);
    assert_eq!(noticed.len(), 1);
    assert!(
        noticed[0].contains("c.yaml:4:5: warning") && noticed[0].contains("a → b → c → a"),
        "{noticed:?}"
    );
    let error = Lab::new(&files).strict().prepare("./a.yaml").await.unwrap_err();
    assert!(error.to_string().contains("a → b → c → a"), "{error}");
}

#[tokio::test]
async fn what_is_missing_is_left_out_with_a_warning_or_refused_when_strict() {
    let cases = [
        ("./absent.yaml", "absent.yaml does not exist"),
        ("nobody", "there is no bundle `nobody`"),
        ("other:x", "no bundle `other` is known"),
        ("zip+https://u:hunter2@h.io/b.zip", "not supported yet"),
        ("https://h.io/b.md", "not supported yet"),
        ("git+https://h.io/o/r@-x", "begins with `-`"),
        ("./broken.yaml", "its file has errors"),
    ];
    for (source, expect) in cases {
        let text = bundle("a", &[source, "./b.yaml"], "ta");
        let files =
            [("a.yaml", text.as_str()), ("b.yaml", "tools: [{module: tb}]"), ("broken.yaml", "tools: {]")];
        let a = Lab::new(&files).prepare("./a.yaml").await.unwrap();
        assert_eq!(tools(&a), ["tb", "ta"], "{source}");
        let noticed = noticed(&a).join("\n");
        assert!(noticed.contains(expect) && noticed.contains("a.yaml:4:5: warning"), "{source}: {noticed}");
        assert!(!noticed.contains("hunter2"));
        let error = Lab::new(&files).strict().prepare("./a.yaml").await.unwrap_err();
        assert!(error.to_string().contains(expect), "{source}: {error}");
    }
}

#[tokio::test]
async fn a_wrong_path_in_a_known_namespace_is_fatal() {
    let lab = Lab::new(&[("a.yaml", &bundle("a", &["a:nothing/here"], "ta"))]);
    let error = lab.prepare("./a.yaml").await.unwrap_err();
    assert!(matches!(error, BundleError::Invalid { .. }), "{error}");
    assert!(error.to_string().contains("a.yaml:4:5: error: `a:nothing/here` names nothing in"), "{error}");
}

#[tokio::test]
async fn a_namespace_reaches_files_and_folders_with_and_without_suffix() {
    for source in ["a:behaviors/b", "a:behaviors/b.yaml", "a:more/c", "a:more/d"] {
        let lab = Lab::new(&[
            ("bundle.yaml", &bundle("a", &[source], "ta")),
            ("behaviors/b.yaml", "tools: [{module: found}]"),
            ("more/c.md", "---\ntools: [{module: found}]\n---\n"),
            ("more/d/bundle.md", "---\ntools: [{module: found}]\n---\n"),
        ]);
        assert_eq!(tools(&lab.prepare(".").await.unwrap()), ["found", "ta"], "{source}");
    }
}

#[tokio::test]
async fn a_namespace_that_a_sibling_brings_is_known() {
    let lab = Lab::new(&[
        ("a.yaml", &bundle("a", &["kit:behaviors/x", "./kit"], "ta")),
        ("kit/bundle.yaml", &bundle("kit", &[], "tk")),
        ("kit/behaviors/x.yaml", "tools: [{module: tx}]"),
    ]);
    let a = lab.prepare("./a.yaml").await.unwrap();
    assert_eq!(tools(&a), ["tx", "tk", "ta"]);
    assert!(a.diagnostics.is_empty(), "{:?}", a.diagnostics);
}

#[tokio::test]
async fn a_namespace_that_a_sibling_brings_is_not_fetched_by_its_name() {
    let mut lab = Lab::new(&[
        ("a.yaml", &bundle("a", &["kit:behaviors/x", "./kit"], "ta")),
        ("kit/bundle.yaml", &bundle("kit", &[], "tk")),
        ("kit/behaviors/x.yaml", "tools: [{module: here}]"),
    ]);
    let files = [("bundle.yaml", "bundle: {name: kit}"), ("behaviors/x.yaml", "tools: [{module: fetched}]")];
    let repo = repository(&lab.path("repo"), "main", &files);
    lab.options.added.insert("kit".into(), format!("git+file://{}", repo.display()));
    assert_eq!(tools(&lab.prepare("./a.yaml").await.unwrap()), ["here", "tk", "ta"]);
    assert!(lab.notices.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_namespace_may_be_the_name_of_a_bundle_that_nobody_loaded() {
    let mut lab = Lab::new(&[("a.yaml", &bundle("a", &["kit:behaviors/x"], "ta"))]);
    let kit = lab.path("kit");
    write(&kit, &[("bundle.yaml", &bundle("kit", &[], "tk")), ("behaviors/x.yaml", "tools: [{module: tx}]")]);
    lab.options.added.insert("kit".into(), kit.display().to_string());
    assert_eq!(tools(&lab.prepare("./a.yaml").await.unwrap()), ["tx", "ta"]);
}

#[tokio::test]
async fn a_nested_bundle_knows_its_root_and_may_include_it() {
    let lab = Lab::new(&[
        ("kit/bundle.md", "---\nbundle: {name: kit}\nincludes: [\"kit:behaviors/x\"]\n---\nroot"),
        ("kit/behaviors/x.yaml", "bundle: {name: x}\nincludes: [kit:behaviors/y, ../bundle.md]\n"),
        (
            "kit/behaviors/y.yaml",
            "bundle: {name: y, namespace_root: ..}\ncontext: {include: [\"y:ctx/c.md\"]}\n",
        ),
        ("kit/ctx/c.md", "context"),
    ]);
    let x = lab.prepare("./kit/behaviors/x.yaml").await.unwrap();
    assert_eq!(x.namespaces["kit"], lab.path("project/kit"));
    assert_eq!(x.namespaces["x"], lab.path("project/kit/behaviors"));
    assert_eq!(x.namespaces["y"], lab.path("project/kit"));
    assert_eq!(x.context_files[0].path, lab.path("project/kit/ctx/c.md"));
    assert!(x.diagnostics.iter().all(|noticed| noticed.severity == Severity::Note), "{:?}", x.diagnostics);
    assert!(Lab::strict(lab).prepare("./kit").await.is_ok());
}

#[tokio::test]
async fn a_git_include_reads_its_subdirectory_and_nothing_outside_its_checkout() {
    let lab = Lab::new(&[]);
    let repo = repository(
        &lab.path("repo"),
        "main",
        &[
            ("bundle.yaml", "bundle: {name: kit}\n"),
            (
                "in/x.yaml",
                "bundle: {name: x}\nincludes: [kit:in/y, ../../../secret.yaml, ../link.yaml]\ntools: [{module: tx}]\n",
            ),
            (
                "in/y.yaml",
                "tools: [{module: ty}]\ncontext: {include: [../../../secret.yaml]}\nagents: {include: [spy]}\n",
            ),
        ],
    );
    write(&lab.path("home"), &[("secret.yaml", "tools: [{module: secret}]")]);
    std::os::unix::fs::symlink(lab.path("home/secret.yaml"), repo.join("link.yaml")).unwrap();
    std::fs::create_dir(repo.join("in/agents")).unwrap();
    std::os::unix::fs::symlink(lab.path("home/secret.yaml"), repo.join("in/agents/spy.md")).unwrap();
    commit(&repo);
    let text = bundle("a", &[&format!("git+file://{}@main#subdirectory=in/x.yaml", repo.display())], "ta");
    write(&lab.path("project"), &[("a.yaml", &text)]);
    let a = lab.prepare("a.yaml").await.unwrap();
    assert_eq!(tools(&a), ["ty", "tx", "ta"]);
    assert!(a.context_files.is_empty() && a.agents.is_empty());
    let noticed = noticed(&a).join("\n");
    assert_eq!(noticed.matches("leads out of").count(), 4, "{noticed}");
    assert_eq!(lab.notices.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn one_repository_included_many_times_is_fetched_once() {
    let lab = Lab::new(&[]);
    let files: Vec<(String, String)> =
        (0..20).map(|n| (format!("b/{n}.yaml"), format!("tools: [{{module: t{n}}}]"))).collect();
    let files: Vec<(&str, &str)> = files.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
    let repo = repository(&lab.path("repo"), "main", &files);
    let uri = |n| format!("git+file://{}@main#subdirectory=b/{n}.yaml", repo.display());
    let sources: Vec<String> = (0..20).map(uri).collect();
    let sources: Vec<&str> = sources.iter().map(String::as_str).collect();
    write(&lab.path("project"), &[("a.yaml", &bundle("a", &sources, "ta"))]);
    let a = lab.prepare("a.yaml").await.unwrap();
    assert_eq!(a.plan.tools.len(), 21);
    assert_eq!(lab.notices.lock().unwrap().len(), 1, "{:?}", lab.notices);
    // Fetched once means: gone repositories are no obstacle afterwards.
    std::fs::remove_dir_all(repo).unwrap();
    assert_eq!(lab.prepare("a.yaml").await.unwrap().content_hash, a.content_hash);
}

#[tokio::test]
async fn a_chain_without_end_is_cut() {
    let files: Vec<(String, String)> = (0..100)
        .map(|n| (format!("{n}.yaml"), bundle(&format!("n{n}"), &[&format!("./{}.yaml", n + 1)], "t")))
        .collect();
    let files: Vec<(&str, &str)> = files.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
    let prepared = Lab::new(&files).prepare("0.yaml").await.unwrap();
    let noticed = noticed(&prepared).join("\n");
    assert!(noticed.contains("nested deeper than 64"), "{noticed}");
}

#[tokio::test]
async fn many_ways_to_one_bundle_cost_no_more_than_one() {
    let mut files = vec![("root.yaml".to_owned(), bundle("root", &["./l0.yaml", "./r0.yaml"], "root"))];
    for n in 0..30 {
        let below: &[&str] = &[&format!("./l{}.yaml", n + 1), &format!("./r{}.yaml", n + 1)];
        for side in ["l", "r"] {
            let name = format!("{side}{n}");
            let below = if n == 29 { &[] } else { below };
            let text = bundle(&name, below, &name) + "limits: {max_turns: 3}\n";
            files.push((format!("{name}.yaml"), text));
        }
    }
    let files: Vec<(&str, &str)> = files.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
    let prepared = Lab::new(&files).prepare("root.yaml").await.unwrap();
    assert_eq!(prepared.plan.tools.len(), 61);
    assert_eq!(prepared.bundle.includes.len(), 2 + 29 * 4);
    assert_eq!(prepared.bundle.declared["limits"].len(), 60);
}

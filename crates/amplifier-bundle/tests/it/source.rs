//! Sources: what parses, what is refused, and what git brings.

use std::path::{Path, PathBuf};
use std::time::Duration;

use amplifier_bundle::source::git::{GitCache, Network, commit as commit_of, entry_name};
use amplifier_bundle::source::registry::{Registry, RegistryError};
use amplifier_bundle::source::uri::bare;
use amplifier_bundle::source::{GitUri, SourceError, SourceUri, UriError};
use amplifier_fs::lock::{self, Acquired};
use proptest::prelude::*;
use tempfile::TempDir;

use crate::source_kit::{clock, commit, git, repository, write};

fn parse(text: &str) -> Result<SourceUri, UriError> {
    text.parse()
}

fn git_uri(text: &str) -> GitUri {
    match parse(text).unwrap() {
        SourceUri::Git(uri) => uri,
        other => panic!("{other:?}"),
    }
}

#[test]
fn every_kind_of_source_parses() {
    let check =
        |text: &str, expect: &str| assert_eq!(format!("{:?}", parse(text).unwrap()), expect, "{text}");
    check(
        "git+https://h.io/o/r@main#subdirectory=a/b",
        "Git(GitUri(git+https://h.io/o/r@main#subdirectory=a/b))",
    );
    check("git+https://h.io/o/r/", "Git(GitUri(git+https://h.io/o/r))");
    check("git+ssh://git@h.io/o/r@feat/x", "Git(GitUri(git+ssh://git@h.io/o/r@feat/x))");
    check(
        "git+file:///o/r@v1#egg=e&subdirectory=/a".replace("=/a", "=a").as_str(),
        "Git(GitUri(git+file:///o/r@v1#subdirectory=a&egg=e))",
    );
    check("zip+https://h.io/b.zip#subdirectory=x", "Zip(WebUri(https://h.io/b.zip#subdirectory=x))");
    check("zip+file:///b.zip", "Zip(WebUri(file:///b.zip))");
    check("https://h.io/b.md", "Http(WebUri(https://h.io/b.md))");
    check("file:///a/b#subdirectory=c", r#"File(FileUri { path: "/a/b", subdirectory: Some("c") })"#);
    for path in ["/a/b", "./a", "../a", "~/a", "~", ".", "/a#b"] {
        check(path, &format!("File(FileUri {{ path: {path:?}, subdirectory: None }})"));
    }
    check("name", r#"Name(NameUri { name: "name", sub: None })"#);
    check("name/sub/path", r#"Name(NameUri { name: "name", sub: Some("sub/path") })"#);
    check("ns:a/b", r#"Namespaced(NamespacedUri { namespace: "ns", path: "a/b" })"#);
}

#[test]
fn what_is_no_source_is_refused_with_what_to_do() {
    let check = |text: &str, expect: &str| {
        let error = parse(text).unwrap_err().to_string();
        assert!(error.contains(expect), "{text}: {error}");
    };
    check("", "is empty");
    check("git+https://h.io/o/r@-x", "a ref that begins with `-`");
    check("git+https://h.io/o/r@--upload-pack=x", "a ref that begins with `-`");
    check("git+ssh://-oProxyCommand=x/o/r", "a host that begins with `-`");
    check("git+ssh://-x@h.io/o/r", "a user that begins with `-`");
    check("git+ssh://h.io/-x/r", "a path that begins with `-`");
    check("-x", "a name that begins with `-`");
    check("git+https://h.io/o/r@a:b", "a ref with `:`");
    check("git+https://h.io/o/r@+a", "a ref with `+`");
    check("git+https://h.io/o/r@", "is incomplete");
    check("git+https:///o/r", "name a host");
    check("git+https://h.io/o/r#subdirectory=../x", "leaves its repository");
    check("git+https://h.io/o/r#subdirectory=/etc", "leaves its repository");
    check("ns:../x", "leaves its namespace");
    check("name/../x", "leaves its bundle");
    check("git+ext://h.io/o/r", "unknown scheme `git+ext`");
    check("git+http://h.io/o/r", "unknown scheme `git+http`");
    check("ftp://h.io/x", "unknown scheme `ftp`");
    check("C:\\x", "Windows");
    check("C:/x", "Windows");
    check("\\\\server\\share", "Windows");
    check("git@h.io:o/r", "git+ssh://user@host");
    check("a\nb", "control character");
    check(&"x".repeat(5000), "5000 bytes");
}

#[test]
fn credentials_are_never_shown() {
    for text in [
        "git+https://user:hunter2@h.io/o/r@main",
        "git+https://hunter2@h.io/o/r",
        "git+https://user:hunter2@h.io/o/r@-x",
        "zip+https://u:hunter2@h.io/x.zip",
        "https://h.io/x?token=hunter2",
        "ext://u:hunter2@h.io/x",
    ] {
        let shown = match parse(text) {
            Ok(uri) => format!("{uri} {uri:?}"),
            Err(error) => format!("{error} {error:?}"),
        };
        assert!(!shown.contains("hunter2"), "{shown}");
    }
    assert_eq!(git_uri("git+https://u:hunter2@h.io/o/r").url(), "https://u:hunter2@h.io/o/r");
}

proptest! {
    #[test]
    fn parsing_never_panics_and_what_parsed_parses_again(
        text in "(git\\+|zip\\+|file|https?|ssh|ns|~|\\.|/|:|@|-|#subdirectory=|&|=|\\\\|[a-z]|\\PC){0,24}"
    ) {
        if let Ok(uri) = parse(&text) {
            let shown = uri.to_string();
            prop_assert!(shown.contains("***") || parse(&shown).is_ok(), "{shown}");
            if let SourceUri::Git(git) = uri {
                prop_assert!(git.reference().is_none_or(|r| !r.starts_with('-')));
                prop_assert!(git.subdirectory().is_none_or(|s| !s.split('/').any(|p| p == "..")));
            }
        }
    }
}

struct Cached {
    dir: TempDir,
}

impl Cached {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn cache(&self, network: Network) -> GitCache {
        GitCache::new(self.path("cache"), clock(), network)
    }

    fn uri(&self, tail: &str) -> GitUri {
        git_uri(&format!("git+file://{}{tail}", self.path("repo").display()))
    }
}

fn content(root: &Path, name: &str) -> String {
    std::fs::read_to_string(root.join(name)).unwrap()
}

#[tokio::test]
async fn a_repository_is_fetched_once_and_then_used_offline() {
    let t = Cached::new();
    let repo = repository(&t.path("repo"), "main", &[("bundle.md", "one")]);
    let uri = t.uri("@main");
    let root = t.cache(Network::Allowed).checkout(&uri).await.unwrap();
    assert_eq!(root.file_name().unwrap().to_str().unwrap(), entry_name(&uri, "main"));
    assert_eq!(commit_of(&root).unwrap().len(), 40);
    std::fs::remove_dir_all(repo).unwrap();
    assert_eq!(t.cache(Network::Offline).checkout(&uri).await.unwrap(), root);
    assert_eq!(content(&root, "bundle.md"), "one");
}

#[test]
fn a_cache_entry_is_named_as_the_reference_system_names_it() {
    let uri = git_uri("git+https://github.com/microsoft/amplifier-foundation@main#subdirectory=x");
    assert_eq!(entry_name(&uri, "main"), "amplifier-foundation-c909465861f9d6ce");
}

#[tokio::test]
async fn what_is_not_cached_is_an_error_offline() {
    let t = Cached::new();
    repository(&t.path("repo"), "main", &[("a", "")]);
    let error = t.cache(Network::Offline).checkout(&t.uri("")).await.unwrap_err();
    assert!(matches!(error, SourceError::Offline { .. }), "{error}");
}

#[tokio::test]
async fn branches_with_slashes_tags_and_commits_are_refs() {
    let t = Cached::new();
    let repo = repository(&t.path("repo"), "main", &[("a", "main")]);
    let first = commit_of(&repo).unwrap();
    git(&repo, &["tag", "v1"]);
    git(&repo, &["config", "uploadpack.allowAnySHA1InWant", "true"]);
    git(&repo, &["checkout", "-qb", "feat/x"]);
    write(&repo, &[("a", "feat")]);
    commit(&repo);
    for (tail, expect) in [("@v1", "main"), ("@feat/x", "feat"), (&format!("@{first}"), "main")] {
        let root = t.cache(Network::Allowed).checkout(&t.uri(tail)).await.unwrap();
        assert_eq!(content(&root, "a"), expect, "{tail}");
    }
}

#[tokio::test]
async fn without_a_ref_and_without_main_the_remote_head_is_used() {
    let t = Cached::new();
    let repo = repository(&t.path("repo"), "trunk", &[("a", "trunk")]);
    let root = t.cache(Network::Allowed).checkout(&t.uri("")).await.unwrap();
    assert_eq!(content(&root, "a"), "trunk");
    std::fs::remove_dir_all(repo).unwrap();
    assert_eq!(t.cache(Network::Offline).checkout(&t.uri("")).await.unwrap(), root);
    let error = t.cache(Network::Allowed).checkout(&t.uri("@main")).await.unwrap_err();
    assert!(matches!(error, SourceError::Git { .. }), "{error}");
}

#[tokio::test]
async fn an_unknown_ref_is_named() {
    let t = Cached::new();
    repository(&t.path("repo"), "main", &[("a", "")]);
    let error = t.cache(Network::Allowed).checkout(&t.uri("@nope")).await.unwrap_err();
    assert!(matches!(&error, SourceError::NoRef { reference, .. } if reference == "nope"), "{error}");
    let left: Vec<_> = std::fs::read_dir(t.path("cache")).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert!(left.iter().all(|name| name.to_str().unwrap().ends_with(".lock")), "{left:?}");
}

#[tokio::test]
async fn an_update_fetches_again() {
    let t = Cached::new();
    let repo = repository(&t.path("repo"), "main", &[("a", "old")]);
    let cache = t.cache(Network::Allowed);
    cache.checkout(&t.uri("")).await.unwrap();
    write(&repo, &[("a", "new")]);
    commit(&repo);
    assert_eq!(content(&cache.checkout(&t.uri("")).await.unwrap(), "a"), "old");
    let updated = cache.update(&t.uri("")).await.unwrap();
    assert_ne!(updated.before, updated.after);
    assert_eq!(content(&updated.root, "a"), "new");
}

#[tokio::test(flavor = "multi_thread")]
async fn many_tasks_that_want_one_repository_share_one_checkout() {
    let t = Cached::new();
    repository(&t.path("repo"), "main", &[("a", "x")]);
    let tasks: Vec<_> = (0..6)
        .map(|_| {
            let (cache, uri) = (t.cache(Network::Allowed), t.uri(""));
            tokio::spawn(async move { cache.checkout(&uri).await.unwrap() })
        })
        .collect();
    for task in tasks {
        assert_eq!(content(&task.await.unwrap(), "a"), "x");
    }
}

#[tokio::test]
async fn a_fetch_ends_at_its_deadline_with_all_its_processes() {
    let t = Cached::new();
    let program = t.path("slow-git");
    let pids = t.path("pids");
    write(
        t.dir.path(),
        &[("slow-git", &format!("#!/bin/sh\nsleep 600 &\necho $! > {}\nwait\n", pids.display()))],
    );
    make_executable(&program);
    let cache = t.cache(Network::Allowed).program(program).deadline(Duration::from_millis(400));
    let error = cache.checkout(&git_uri("git+https://example.invalid/o/r")).await.unwrap_err();
    assert!(matches!(error, SourceError::Deadline { .. }), "{error}");
    let pid = std::fs::read_to_string(pids).unwrap();
    let gone = || {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim()));
        stat.map_or(true, |stat| stat.contains(") Z "))
    };
    for _ in 0..200 {
        if gone() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("process {pid} survived");
}

fn make_executable(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

#[tokio::test]
async fn a_missing_git_program_is_said() {
    let t = Cached::new();
    let cache = t.cache(Network::Allowed).program(t.path("absent"));
    let error = cache.checkout(&git_uri("git+https://u:hunter2@example.invalid/o/r")).await.unwrap_err();
    assert!(matches!(error, SourceError::NoGit { .. }), "{error}");
    assert!(!error.to_string().contains("hunter2"));
}

#[tokio::test]
async fn what_git_says_is_shown_without_credentials() {
    let t = Cached::new();
    let program = t.path("git");
    write(
        t.dir.path(),
        &[("git", "#!/bin/sh\necho \"fatal: unable to access '$*/': boom\" >&2\nexit 128\n")],
    );
    make_executable(&program);
    let cache = t.cache(Network::Allowed).program(program);
    let error = cache.checkout(&git_uri("git+https://u:hunter2@example.invalid/o/r")).await.unwrap_err();
    let text = error.to_string();
    assert!(text.contains("boom") && !text.contains("hunter2"), "{text}");
}

#[tokio::test]
async fn a_hook_of_the_repository_never_runs() {
    let t = Cached::new();
    let template = t.path("template/hooks/post-checkout");
    let ran = t.path("ran");
    write(
        t.dir.path(),
        &[("template/hooks/post-checkout", &format!("#!/bin/sh\ntouch {}\n", ran.display()))],
    );
    make_executable(&template);
    repository(&t.path("repo"), "main", &[("a", "")]);
    let program = t.path("git");
    let template = t.path("template");
    let script = format!("#!/bin/sh\nGIT_TEMPLATE_DIR={} exec git \"$@\"\n", template.display());
    write(t.dir.path(), &[("git", &script)]);
    make_executable(&program);
    t.cache(Network::Allowed).program(program).checkout(&t.uri("")).await.unwrap();
    assert!(!ran.exists());
}

#[tokio::test]
async fn a_subdirectory_stays_inside_the_checkout() {
    let t = Cached::new();
    let repo = repository(&t.path("repo"), "main", &[("in/bundle.md", "x"), ("bundle.md", "root")]);
    write(t.dir.path(), &[("outside/bundle.md", "secret")]);
    std::os::unix::fs::symlink(t.path("outside"), repo.join("out")).unwrap();
    std::os::unix::fs::symlink(t.path("outside/bundle.md"), repo.join("in/leak.md")).unwrap();
    commit(&repo);
    let root = t.cache(Network::Allowed).checkout(&t.uri("")).await.unwrap();
    let find = |sub: &str| GitCache::bundle_file(&root, &t.uri(&format!("#subdirectory={sub}")));
    assert!(find("in").unwrap().ends_with("in/bundle.md"));
    for sub in ["out", "out/bundle.md", "in/leak.md"] {
        assert!(matches!(find(sub), Err(SourceError::Escape { .. })), "{sub}");
    }
    assert!(find("absent").unwrap_err().is_missing());
}

#[test]
fn a_damaged_registry_is_an_error_that_names_it() {
    let home = tempfile::tempdir().unwrap();
    assert_eq!(Registry::read(home.path()).unwrap(), Registry::default());
    write(home.path(), &[("registry.json", "{\"bundlez\": {\"x\": {\"uri\": \"./b.md\"}}}\n")]);
    assert!(Registry::read(home.path()).is_err(), "names that are lost are told");
    write(home.path(), &[("registry.json", "{\"bundles\": {\"x\": {}\n")]);
    let error = Registry::read(home.path()).unwrap_err();
    assert!(matches!(error, RegistryError::Damaged { .. }));
    assert!(error.to_string().contains("registry.json"), "{error}");
    assert!(error.to_string().contains("repair it or move it away"), "{error}");
}

#[tokio::test]
async fn an_entry_that_somebody_else_fetches_for_too_long_names_them() {
    let t = Cached::new();
    let uri = t.uri("@main");
    let lock = t.path("cache").join(format!(".{}.lock", entry_name(&uri, "main")));
    std::fs::create_dir_all(t.path("cache")).unwrap();
    let Ok(Acquired::Held(held)) = lock::acquire(&lock) else { panic!("the lock is free") };
    let cache = t.cache(Network::Allowed).deadline(Duration::from_millis(120));
    let error = cache.checkout(&uri).await.unwrap_err();
    let me = std::process::id();
    assert!(matches!(error, SourceError::Busy { holder: Some(id), .. } if id == me), "{error}");
    drop(held);
}

#[tokio::test]
async fn what_a_clone_that_was_cut_off_left_is_fetched_again() {
    let t = Cached::new();
    repository(&t.path("repo"), "main", &[("a", "whole")]);
    let uri = t.uri("@main");
    std::fs::create_dir_all(t.path("cache").join(entry_name(&uri, "main")).join(".git")).unwrap();
    let root = t.cache(Network::Allowed).checkout(&uri).await.unwrap();
    assert_eq!(content(&root, "a"), "whole");
}

#[test]
fn credentials_are_no_part_of_what_is_kept() {
    for (written, kept) in [
        (
            "git+https://u:hunter2@h.io/o/r@v1#subdirectory=a/b&x=y",
            "git+https://h.io/o/r@v1#subdirectory=a/b&x=y",
        ),
        ("git+https://token@h.io/o/r", "git+https://h.io/o/r"),
        ("git+https://h.io/o/r?token=hunter2@v1", "git+https://h.io/o/r@v1"),
        ("git+ssh://git@h.io/o/r@main", "git+ssh://git@h.io/o/r@main"),
        ("https://u:p@h.io/x.md?key=1", "https://h.io/x.md"),
        ("./a@b.md", "./a@b.md"),
        ("name", "name"),
    ] {
        assert_eq!(bare(written), kept);
        if written.starts_with("git+") {
            assert_eq!(entry_name(&git_uri(written), "v1"), entry_name(&git_uri(kept), "v1"), "{written}");
        }
    }
}

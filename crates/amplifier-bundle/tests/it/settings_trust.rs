//! The list of trusted directories.

use std::fs;
use std::path::Path;

use amplifier_bundle::settings::home::AmplifierHome;
use amplifier_bundle::settings::trust::{TrustError, TrustList};
use amplifier_core::Timestamp;

const NOW: Timestamp = Timestamp::from_micros(1_795_342_331_000_000);

fn list_in(home: &Path) -> TrustList {
    TrustList::new(&AmplifierHome::at(home.join("amplifier")))
}

#[test]
fn a_directory_is_trusted_with_all_below_it() {
    let dir = tempfile::tempdir().unwrap();
    let trust = list_in(dir.path());
    for name in ["project/sub/deep", "project-2", "other"] {
        fs::create_dir_all(dir.path().join(name)).unwrap();
    }
    std::os::unix::fs::symlink(dir.path().join("project/sub"), dir.path().join("link")).unwrap();
    std::os::unix::fs::symlink(dir.path().join("other"), dir.path().join("project/out")).unwrap();
    let check = |name: &str, expect: bool| {
        assert_eq!(trust.is_trusted(&dir.path().join(name)).unwrap(), expect, "{name}");
    };
    check("project", false);
    let listed = trust.add(&dir.path().join("project/../project"), NOW).unwrap();
    assert_eq!(listed, fs::canonicalize(dir.path().join("project")).unwrap());
    check("project", true);
    check("project/sub/deep", true);
    check("link", true);
    check("project-2", false);
    check("other", false);
    check("project/out", false);
    check(".", false);
    assert!(trust.is_trusted(&dir.path().join("missing")).is_err());
}

#[test]
fn a_directory_is_listed_once_with_its_time_and_can_be_revoked() {
    let dir = tempfile::tempdir().unwrap();
    let trust = list_in(dir.path());
    let project = dir.path().join("project");
    fs::create_dir(&project).unwrap();
    trust.add(&project, NOW).unwrap();
    trust.add(&project, Timestamp::from_micros(0)).unwrap();
    let listed = trust.list().unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!(
        (listed[0].path.as_path(), listed[0].since),
        (fs::canonicalize(&project).unwrap().as_path(), NOW)
    );
    fs::remove_dir(&project).unwrap();
    assert!(trust.revoke(&fs::canonicalize(dir.path()).unwrap().join("project")).unwrap());
    assert!(!trust.revoke(&project).unwrap());
    assert!(trust.list().unwrap().is_empty());
}

#[test]
fn the_list_is_the_owners_alone() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    list_in(dir.path()).add(dir.path(), NOW).unwrap();
    let mode = fs::metadata(dir.path().join("amplifier/trust.json")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn a_damaged_list_trusts_nothing_and_is_not_written_over() {
    let dir = tempfile::tempdir().unwrap();
    let trust = list_in(dir.path());
    fs::create_dir(dir.path().join("amplifier")).unwrap();
    let file = dir.path().join("amplifier/trust.json");
    let here = serde_json::to_string(&fs::canonicalize(dir.path()).unwrap()).unwrap();
    let later =
        format!(r#"{{"version":2,"directories":[{{"path":{here},"since":"2026-01-01T00:00:00Z"}}]}}"#);
    for bad in ["", "{", "[]", r#"{"version":1}"#, r#"{"version":1,"directories":["/"]}"#, &later] {
        fs::write(&file, bad).unwrap();
        let error = trust.is_trusted(dir.path()).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("trust.json") && text.contains("nothing is trusted"), "{text}");
        assert!(trust.add(dir.path(), NOW).is_err());
        assert!(trust.revoke(dir.path()).is_err());
        assert_eq!(fs::read_to_string(&file).unwrap(), bad);
    }
}

#[test]
fn an_entry_that_would_hold_everything_counts_for_nothing() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("amplifier")).unwrap();
    for path in ["", "/", ".", "tmp"] {
        let list =
            format!(r#"{{"version":1,"directories":[{{"path":"{path}","since":"2026-01-01T00:00:00Z"}}]}}"#);
        fs::write(dir.path().join("amplifier/trust.json"), list).unwrap();
        assert!(!list_in(dir.path()).is_trusted(dir.path()).unwrap(), "{path:?}");
    }
}

#[test]
fn what_is_no_directory_or_too_wide_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let trust = list_in(dir.path());
    fs::write(dir.path().join("file"), "").unwrap();
    assert!(matches!(trust.add(&dir.path().join("file"), NOW), Err(TrustError::NoDirectory { .. })));
    assert!(matches!(trust.add(&dir.path().join("missing"), NOW), Err(TrustError::Read(_))));
    assert!(matches!(trust.add(Path::new("/"), NOW), Err(TrustError::TooWide)));
}

#[test]
fn threads_that_add_at_once_lose_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let trust = list_in(dir.path());
    std::thread::scope(|scope| {
        for number in 0..8 {
            let (trust, project) = (&trust, dir.path().join(format!("p{number}")));
            scope.spawn(move || {
                fs::create_dir(&project).unwrap();
                trust.add(&project, NOW).unwrap();
            });
        }
    });
    assert_eq!(trust.list().unwrap().len(), 8);
}

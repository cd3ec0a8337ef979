//! The storages against their contract, and the file storage's layout.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use amplifier_core::{Activation, Message, SessionId, Timestamp};
use amplifier_foundation::redact::{Redactor, SecretValue};
use amplifier_foundation::storage::{
    FileStorage, MemoryStorage, ProjectPaths, ProjectScope, SessionMetadata, SessionQuery, SessionStorage,
    SnapshotStorage, Snapshots, StorageError, StoredSession, contract,
};
use async_trait::async_trait;
use tempfile::TempDir;

pub(crate) fn id(text: &str) -> SessionId {
    SessionId::new(text).unwrap()
}

/// A home and a project directory in a temporary folder.
pub(crate) struct Place {
    pub(crate) root: TempDir,
}

impl Place {
    pub(crate) fn new() -> Self {
        Self::under(&std::env::temp_dir())
    }

    pub(crate) fn under(folder: &Path) -> Self {
        let root = tempfile::tempdir_in(folder).unwrap();
        fs::create_dir_all(root.path().join("project")).unwrap();
        Self { root }
    }

    pub(crate) fn paths(&self) -> ProjectPaths {
        ProjectPaths::resolve(&self.root.path().join("home"), &self.root.path().join("project")).unwrap()
    }

    pub(crate) fn storage(&self) -> FileStorage {
        FileStorage::new(self.paths(), Redactor::default())
    }
}

pub(crate) fn described(id: &SessionId) -> Arc<SessionMetadata> {
    Arc::new(SessionMetadata::new(id.clone(), Timestamp::from_micros(1_767_225_600_000_000)))
}

pub(crate) fn users(texts: &[&str]) -> Vec<Arc<Message>> {
    texts.iter().map(|text| Arc::new(Message::user(*text))).collect()
}

pub(crate) fn texts(messages: &[Arc<Message>]) -> Vec<String> {
    messages.iter().map(|message| message.text()).collect()
}

#[derive(Debug, Default)]
struct Kept(Mutex<HashMap<SessionId, StoredSession>>);

#[async_trait]
impl SnapshotStorage for Kept {
    async fn save(
        &self,
        id: &SessionId,
        transcript: &[Arc<Message>],
        metadata: &SessionMetadata,
    ) -> Result<(), StorageError> {
        let session = StoredSession::new(metadata.clone(), transcript.to_vec());
        self.0.lock().unwrap().insert(id.clone(), session);
        Ok(())
    }

    async fn load(&self, id: &SessionId) -> Result<Option<StoredSession>, StorageError> {
        Ok(self.0.lock().unwrap().get(id).cloned())
    }

    async fn exists(&self, id: &SessionId) -> Result<bool, StorageError> {
        Ok(self.0.lock().unwrap().contains_key(id))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_file_storage_keeps_the_contract() {
    let places: Mutex<Vec<Place>> = Mutex::default();
    let make = || -> Arc<dyn SessionStorage> {
        let place = Place::new();
        let storage = place.storage();
        places.lock().unwrap().push(place);
        Arc::new(storage)
    };
    let report = contract::contract(make).await.unwrap();
    assert_eq!(report.skipped, [""; 0]);
    assert!(report.held.len() >= 16);
}

#[tokio::test]
async fn the_memory_storage_keeps_the_contract() {
    let report = contract::contract(|| Arc::new(MemoryStorage::default())).await.unwrap();
    assert_eq!(report.skipped, [""; 0]);
}

#[tokio::test]
async fn three_methods_keep_the_contract_but_for_lists_and_deletion() {
    let report = contract::contract(|| Arc::new(Snapshots::new(Kept::default()))).await.unwrap();
    assert_eq!(report.held.len(), 12);
    assert_eq!(report.skipped.len(), 5, "{:?}", report.skipped);
}

/// A storage that forgets the last message of each append.
#[derive(Debug, Default)]
struct Forgetful(MemoryStorage);

#[async_trait]
impl SnapshotStorage for Forgetful {
    async fn save(
        &self,
        id: &SessionId,
        transcript: &[Arc<Message>],
        metadata: &SessionMetadata,
    ) -> Result<(), StorageError> {
        let _ = self.0.create(id, &Arc::new(metadata.clone())).await;
        let kept = transcript.len().saturating_sub(1);
        self.0.append(id, Activation::FIRST, &transcript[..kept]).await.map(|_| ())
    }

    async fn load(&self, id: &SessionId) -> Result<Option<StoredSession>, StorageError> {
        self.0.load(id).await.map(Some)
    }

    async fn exists(&self, id: &SessionId) -> Result<bool, StorageError> {
        self.0.exists(id).await
    }
}

#[tokio::test]
async fn the_contract_finds_a_storage_that_forgets() {
    let breach = contract::contract(|| Arc::new(Snapshots::new(Forgetful::default()))).await.unwrap_err();
    assert_eq!(breach.clause, "messages are loaded as they were appended");
}

#[tokio::test]
async fn a_session_is_a_private_folder_in_the_reference_s_layout() {
    let place = Place::new();
    let storage = place.storage();
    let session = id("4a0c2e9e-7f8f-4d0f-9f4e-0123456789ab");
    storage.create(&session, &described(&session)).await.unwrap();
    storage.append(&session, Activation::FIRST, &users(&["hi"])).await.unwrap();

    let project = fs::canonicalize(place.root.path().join("project")).unwrap();
    let slug = project.to_str().unwrap().replace('/', "-");
    let folder = place.root.path().join("home/projects").join(slug).join("sessions").join(session.as_str());
    let transcript = fs::read_to_string(folder.join("transcript.jsonl")).unwrap();
    assert_eq!(transcript, "{\"role\":\"user\",\"content\":\"hi\"}\n");
    let metadata = fs::read_to_string(folder.join("metadata.json")).unwrap();
    assert!(metadata.starts_with("{\n  \"session_id\": \"4a0c2e9e"), "{metadata}");
    assert!(metadata.ends_with("}\n"));
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    for file in ["transcript.jsonl", "metadata.json", ".lock"] {
        assert_eq!(mode(&folder.join(file)), 0o600, "{file}");
    }
    assert_eq!(mode(&folder), 0o700);
    assert_eq!(mode(folder.parent().unwrap()), 0o700);
    storage.close(&session).await.unwrap();
    let mut names: Vec<_> = fs::read_dir(&folder).unwrap().map(|e| e.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, [".lock", "metadata.json", "transcript.jsonl"]);
}

#[tokio::test]
async fn looking_around_in_a_new_project_writes_nothing() {
    let place = Place::new();
    let storage = place.storage();
    assert!(storage.list(&SessionQuery::default()).await.unwrap().is_empty());
    assert!(!storage.exists(&id("s")).await.unwrap());
    assert!(storage.load(&id("s")).await.is_err());
    assert!(storage.delete(&id("s")).await.is_err());
    assert!(storage.open(&id("s"), Activation(2)).await.is_err());
    assert!(!place.root.path().join("home").exists());
}

#[tokio::test]
async fn two_directories_never_share_a_project_folder() {
    let root = tempfile::tempdir().unwrap();
    let home = root.path().join("home");
    let (first, second) = (root.path().join("b-c"), root.path().join("b/c"));
    for directory in [&first, &second] {
        fs::create_dir_all(directory).unwrap();
    }
    // Resolved while neither has been claimed: the slower one is told, and not let in.
    let early = ProjectPaths::resolve(&home, &second).unwrap();
    let paths = ProjectPaths::resolve(&home, &first).unwrap();
    assert_eq!(early.project(), paths.project());
    paths.claim().unwrap();
    paths.claim().unwrap();
    assert!(
        matches!(early.claim(), Err(StorageError::ProjectTaken { owner, .. }) if owner == paths.directory())
    );

    let other = ProjectPaths::resolve(&home, &second).unwrap();
    other.claim().unwrap();
    assert_eq!(other.slug().len(), paths.slug().len() + 9, "{}", other.slug());
    assert!(other.slug().starts_with(paths.slug()));
    assert_eq!(ProjectPaths::resolve(&home, &second).unwrap(), other);
    assert_eq!(ProjectPaths::resolve(&home, &first).unwrap(), paths);
}

#[tokio::test]
async fn a_folder_without_marker_belongs_to_the_directory_that_its_sessions_name() {
    let root = tempfile::tempdir().unwrap();
    let home = root.path().join("home");
    let (first, second) = (root.path().join("b-c"), root.path().join("b/c"));
    for directory in [&first, &second] {
        fs::create_dir_all(directory).unwrap();
    }
    let (first, second) = (fs::canonicalize(first).unwrap(), fs::canonicalize(second).unwrap());
    let paths = ProjectPaths::resolve(&home, &first).unwrap();
    let session = paths.sessions().join("old");
    fs::create_dir_all(&session).unwrap();
    let metadata = serde_json::json!({ "session_id": "old", "working_dir": first });
    fs::write(session.join("metadata.json"), metadata.to_string()).unwrap();
    assert_eq!(ProjectPaths::resolve(&home, &first).unwrap(), paths);
    assert_ne!(ProjectPaths::resolve(&home, &second).unwrap().project(), paths.project());
}

#[tokio::test]
async fn a_very_long_directory_gets_a_name_that_a_file_system_takes() {
    let root = tempfile::tempdir().unwrap();
    let home = root.path().join("home");
    let deep = root.path().join("d".repeat(150)).join("e".repeat(150));
    fs::create_dir_all(deep.join("x")).unwrap();
    fs::create_dir_all(deep.join("y")).unwrap();
    let [x, y] = ["x", "y"].map(|name| ProjectPaths::resolve(&home, &deep.join(name)).unwrap());
    x.claim().unwrap();
    y.claim().unwrap();
    assert_ne!(x.project(), y.project());
}

#[tokio::test]
async fn known_secrets_do_not_reach_the_metadata_file() {
    let place = Place::new();
    let redactor = Redactor::new(vec![SecretValue::from("hunter2hunter2")]);
    let storage = FileStorage::new(place.paths(), redactor);
    let session = id("s");
    let mut metadata = described(&session);
    let filled = Arc::make_mut(&mut metadata);
    filled.description = Some("login with hunter2hunter2".into());
    filled.extra.insert("config".into(), serde_json::json!({ "OPENAI_API_KEY": "sk-1" }));
    storage.create(&session, &metadata).await.unwrap();
    let written = fs::read_to_string(place.paths().session(&session).join("metadata.json")).unwrap();
    assert!(written.contains("login with [REDACTED]") && !written.contains("sk-1"), "{written}");
}

fn touch(place: &Place, session: &str, seconds: u64) {
    let path = place.paths().session(&id(session)).join("metadata.json");
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000 + seconds);
    fs::File::options().append(true).open(path).unwrap().set_modified(time).unwrap();
}

async fn make(place: &Place, name: &str, fill: impl FnOnce(&mut SessionMetadata)) {
    let storage = place.storage();
    let session = id(name);
    let mut metadata = described(&session);
    fill(Arc::make_mut(&mut metadata));
    storage.create(&session, &metadata).await.unwrap();
    storage.append(&session, Activation::FIRST, &users(&["a \"Needle\" ö"])).await.unwrap();
    storage.close(&session).await.unwrap();
}

async fn listed(place: &Place, query: SessionQuery) -> Vec<String> {
    place.storage().list(&query).await.unwrap().into_iter().map(|summary| summary.id.to_string()).collect()
}

#[tokio::test]
async fn a_list_is_in_order_of_change_and_flags_what_is_broken() {
    let place = Place::new();
    for (seconds, name) in ["a", "b", "c_child", "d"].into_iter().enumerate() {
        make(&place, name, |metadata| metadata.name = Some(format!("Name {name}"))).await;
        if name != "d" {
            touch(&place, name, seconds as u64);
        }
    }
    let broken = place.paths().session(&id("d")).join("metadata.json");
    fs::write(broken, "{\n  \"bundle\": \"x\",,\n}").unwrap();
    touch(&place, "d", 9);
    fs::create_dir(place.paths().session(&id("unfinished"))).unwrap();
    fs::write(place.paths().sessions().join("a-file"), "").unwrap();

    assert_eq!(listed(&place, SessionQuery::default()).await, ["d", "c_child", "b", "a"]);
    assert_eq!(listed(&place, SessionQuery::default().limit(2)).await, ["d", "c_child"]);
    assert_eq!(listed(&place, SessionQuery::default().keyword("name B")).await, ["b"]);
    assert_eq!(listed(&place, SessionQuery::default().keyword("\"NEEDLE\" Ö").limit(1)).await, ["d"]);
    assert_eq!(listed(&place, SessionQuery::default().keyword("haystack")).await, [""; 0]);
    let at = |seconds: i64| Timestamp::from_micros((1_800_000_000 + seconds) * 1_000_000);
    assert_eq!(listed(&place, SessionQuery::default().after(at(1)).before(at(9))).await, ["c_child", "b"]);

    let all = place.storage().list(&SessionQuery::default()).await.unwrap();
    assert_eq!(all[0].broken.as_deref(), Some("metadata.json:2:17 key must be a string"));
    assert_eq!(all[2].name.as_deref(), Some("Name b"));
    assert_eq!(all[2].path.as_deref(), Some(place.paths().session(&id("b")).as_path()));
}

#[tokio::test]
async fn a_list_of_all_projects_tells_them_apart() {
    let place = Place::new();
    make(&place, "here", |_| {}).await;
    let elsewhere = place.root.path().join("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    let paths = ProjectPaths::resolve(&place.root.path().join("home"), &elsewhere).unwrap();
    let other = FileStorage::new(paths.clone(), Redactor::default());
    other.create(&id("there"), &described(&id("there"))).await.unwrap();
    assert_eq!(listed(&place, SessionQuery::default()).await, ["here"]);
    let all = place.storage().list(&SessionQuery::default().project(ProjectScope::All)).await.unwrap();
    assert_eq!(all.len(), 2);
    let there = all.iter().find(|summary| summary.id == id("there")).unwrap();
    assert_eq!(there.project.as_deref(), Some(paths.slug()));
}

#[tokio::test]
async fn metadata_that_cannot_be_read_hides_only_sub_sessions_of_the_reference() {
    let place = Place::new();
    for name in ["plain", "0000000000000000-a1b2c3d4e5f60718_explorer"] {
        make(&place, name, |_| {}).await;
        fs::write(place.paths().session(&id(name)).join("metadata.json"), "[]").unwrap();
    }
    assert_eq!(listed(&place, SessionQuery::default().top_level()).await, ["plain"]);
}

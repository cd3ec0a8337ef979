//! The ledger: which processes the tools of this process's sessions have started, on disk.
//!
//! Guarantees: nothing is written before the first program is started; `Ok` means durable. The
//! file is locked for as long as this process lives, and is gone once nothing of it is left.
//! Never here: a command's text, and signals.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use amplifier_core::{Clock, Ids, SessionId};

use super::record::{Line, Owner, Started};
use super::scope::Known;
use crate::storage::{ProjectPaths, StorageError};
use amplifier_fs::owned::{OwnedFile, owned_name};
use amplifier_fs::process_table::Process;
use amplifier_fs::write::{self, Access};

/// Where a project keeps what belongs to processes that run.
const FOLDER: &str = "run";
const BEGINNING: &str = "processes-";
const END: &str = ".jsonl";
/// Lines of sessions that have ended, from which on the file is written anew without them.
const STALE_LINES: usize = 1_000;
/// How many names are tried for a new file; ids are random, except in tests.
const NAMES: usize = 100;

/// Why a program was not recorded, and so not begun.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LedgerError {
    /// The project's folder cannot be used.
    #[error(transparent)]
    Project(#[from] StorageError),
    /// The file system failed.
    #[error("could not write {}; no command is run that would not be found after a crash", path.display())]
    File {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The runtime ends.
    #[error("this program is ending; no command is run any more")]
    Stopped,
}

/// The folder of a project's ledgers.
pub(crate) fn folder(paths: &ProjectPaths) -> PathBuf {
    paths.project().join(FOLDER)
}

/// True for the name of a ledger, also of one that is being made.
pub(super) fn is_ledger(name: &str) -> bool {
    let name = owned_name(name);
    name.starts_with(BEGINNING) && name.ends_with(END)
}

/// What the tools of this process start in one project. Cheap to clone; clones share one file.
#[derive(Debug, Clone)]
pub struct ProcessLedger(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    paths: ProjectPaths,
    clock: Arc<dyn Clock>,
    ids: Arc<dyn Ids>,
    // Held for one write and its fsync, on threads that may block: lines are whole and in order.
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// `None` while nothing of this process is left.
    file: Option<OwnedFile>,
    /// The lines that still count, by the uuid of the session's marks.
    live: BTreeMap<String, Vec<u8>>,
    /// How many lines of the file count no more.
    stale: usize,
}

impl ProcessLedger {
    /// The ledger of this process for one project. Touches no file.
    pub fn of_project(paths: &ProjectPaths, clock: Arc<dyn Clock>, ids: Arc<dyn Ids>) -> Self {
        Self(Arc::new(Inner { paths: paths.clone(), clock, ids, state: Mutex::default() }))
    }

    /// The part of one session: a capability for its coordinator, to be there before its modules
    /// are mounted. Touches no file.
    pub fn for_session(&self, session: SessionId) -> SessionLedger {
        SessionLedger { ledger: self.clone(), session }
    }

    async fn blocking(
        &self,
        work: impl FnOnce(&Inner) -> Result<(), LedgerError> + Send + 'static,
    ) -> Result<(), LedgerError> {
        let inner = Arc::clone(&self.0);
        tokio::task::spawn_blocking(move || work(&inner)).await.unwrap_or(Err(LedgerError::Stopped))
    }
}

/// What the tools of one session start. Cheap to clone.
#[derive(Debug, Clone)]
pub struct SessionLedger {
    ledger: ProcessLedger,
    session: SessionId,
}

impl SessionLedger {
    /// Records a program that waits at its gate. `Ok`: durable; one fsync, for the first program
    /// of this process two, and more where folders must be made.
    pub(super) async fn started(
        &self,
        uuid: &str,
        mark: String,
        pid: i32,
        row: Option<Process>,
    ) -> Result<(), LedgerError> {
        let line = Line::Started(Started {
            mark,
            session: self.session.clone(),
            pid,
            group: row.map_or(pid, |row| row.group),
            process_session: row.map_or(pid, |row| row.session),
            started: row.map(|row| row.started_ticks),
            at: self.ledger.0.clock.now(),
        });
        self.append(uuid, &line).await
    }

    /// Records what is in a program's process session once the program itself has ended. `Ok`: durable.
    pub(super) async fn left(
        &self,
        uuid: &str,
        mark: String,
        processes: Vec<Known>,
    ) -> Result<(), LedgerError> {
        self.append(uuid, &Line::Left { mark, processes }).await
    }

    /// Notes that nothing of a session is left; with the last one the file goes.
    pub(super) async fn ended(&self, uuid: &str) -> Result<(), LedgerError> {
        let uuid = uuid.to_owned();
        self.ledger.blocking(move |inner| inner.ended(&uuid)).await
    }

    async fn append(&self, uuid: &str, line: &Line) -> Result<(), LedgerError> {
        let folder = folder(&self.ledger.0.paths);
        let line = line.to_bytes().map_err(failed(&folder))?;
        let uuid = uuid.to_owned();
        self.ledger.blocking(move |inner| inner.append(uuid, line)).await
    }
}

impl Inner {
    fn append(&self, uuid: String, line: Vec<u8>) -> Result<(), LedgerError> {
        let mut state = self.state();
        match &mut state.file {
            Some(file) => file.append(&line).map_err(failed(&folder(&self.paths)))?,
            None => state.file = Some(self.create(&line)?),
        }
        state.live.entry(uuid).or_default().extend(line);
        Ok(())
    }

    fn create(&self, line: &[u8]) -> Result<OwnedFile, LedgerError> {
        self.paths.claim()?;
        let folder = folder(&self.paths);
        write::create_dirs(&folder, Access::Private).map_err(failed(&folder))?;
        let content = [self.owner().map_err(failed(&folder))?, line.to_vec()].concat();
        let name = || format!("{BEGINNING}{}{END}", self.ids.v4());
        let mut path = folder.join(name());
        for _ in 0..NAMES {
            match OwnedFile::create(&path, &content) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => path = folder.join(name()),
                other => return other.map_err(failed(&path)),
            }
        }
        Err(failed(&path)(io::ErrorKind::AlreadyExists.into()))
    }

    fn owner(&self) -> io::Result<Vec<u8>> {
        let started = super::tree::own_start();
        Line::Owner(Owner::this_process(started, self.clock.now())).to_bytes()
    }

    fn ended(&self, uuid: &str) -> Result<(), LedgerError> {
        let mut state = self.state();
        let Some(lines) = state.live.remove(uuid) else { return Ok(()) };
        state.stale += lines.iter().filter(|byte| **byte == b'\n').count();
        let folder = folder(&self.paths);
        if state.live.is_empty() {
            state.stale = 0;
            return state.file.take().map_or(Ok(()), OwnedFile::remove).map_err(failed(&folder));
        }
        if state.stale < STALE_LINES {
            return Ok(());
        }
        let mut content = self.owner().map_err(failed(&folder))?;
        state.live.values().for_each(|lines| content.extend(lines));
        let Some(file) = &mut state.file else { return Ok(()) };
        file.replace(&content).map_err(failed(&folder))?;
        state.stale = 0;
        Ok(())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> LedgerError {
    let path = path.to_owned();
    move |source| LedgerError::File { path, source }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods)]
mod tests {
    use super::*;
    use crate::host::{RandomIds, SystemClock};
    use amplifier_fs::owned;

    struct Project {
        paths: ProjectPaths,
        ledger: ProcessLedger,
        _root: tempfile::TempDir,
    }

    fn project() -> Project {
        let root = tempfile::tempdir().unwrap();
        let paths = ProjectPaths::resolve(&root.path().join("home"), root.path()).unwrap();
        let (clock, ids) = (Arc::new(SystemClock::new()), Arc::new(RandomIds::new()));
        Project { ledger: ProcessLedger::of_project(&paths, clock, ids), paths, _root: root }
    }

    impl Project {
        fn session(&self, id: &str) -> SessionLedger {
            self.ledger.for_session(SessionId::new(id).unwrap())
        }

        fn files(&self) -> Vec<PathBuf> {
            let entries = std::fs::read_dir(folder(&self.paths)).into_iter().flatten();
            entries.map(|entry| entry.unwrap().path()).collect()
        }

        fn text(&self) -> String {
            std::fs::read_to_string(&self.files()[0]).unwrap()
        }
    }

    async fn start(session: &SessionLedger, uuid: &str, number: usize) {
        session.started(uuid, format!("{uuid}.{number}"), 1_000_000, None).await.unwrap();
    }

    #[tokio::test]
    async fn the_file_comes_with_the_first_program_and_goes_with_the_last_session() {
        let project = project();
        let (one, two) = (project.session("one"), project.session("two"));
        one.ended("a").await.unwrap();
        assert!(project.files().is_empty(), "nothing is written before");
        start(&one, "a", 0).await;
        start(&two, "b", 0).await;
        assert_eq!(project.files().len(), 1);
        assert!(owned::take(&project.files()[0]).unwrap().is_none(), "it is owned");
        one.ended("a").await.unwrap();
        assert!(project.text().contains("\"mark\":\"b.0\""));
        two.ended("b").await.unwrap();
        assert!(project.files().is_empty());
        start(&one, "c", 0).await;
        assert_eq!(project.files().len(), 1, "and comes again");
        let file = project.files().remove(0);
        drop((one, two));
        drop(project.ledger);
        assert!(owned::take(&file).unwrap().is_some(), "what is dropped with programs is abandoned");
    }

    #[tokio::test]
    async fn the_file_does_not_grow_with_sessions_that_have_ended() {
        let project = project();
        let stays = project.session("stays");
        start(&stays, "stays", 0).await;
        for round in 0..5 {
            let goes = project.session("goes");
            let uuid = format!("goes-{round}");
            for number in 0..STALE_LINES / 3 {
                start(&goes, &uuid, number).await;
            }
            goes.ended(&uuid).await.unwrap();
        }
        start(&stays, "stays", 1).await;
        let text = project.text();
        assert!(text.lines().count() < STALE_LINES, "{} lines", text.lines().count());
        assert!(text.lines().next().unwrap().contains("\"type\":\"owner\""));
        for number in 0..2 {
            assert!(text.contains(&format!("\"mark\":\"stays.{number}\"")));
        }
        assert!(owned::take(&project.files()[0]).unwrap().is_none(), "it is owned all the time");
        assert_eq!(project.files().len(), 1);
    }

    #[tokio::test]
    async fn a_folder_that_cannot_be_made_is_told_and_tried_again() {
        let project = project();
        let session = project.session("s");
        project.paths.claim().unwrap();
        std::fs::write(folder(&project.paths), "in the way").unwrap();
        let error = session.started("a", "a.0".into(), 1_000_000, None).await.unwrap_err();
        assert!(error.to_string().contains("no command is run"), "{error}");
        std::fs::remove_file(folder(&project.paths)).unwrap();
        start(&session, "a", 0).await;
        assert_eq!(project.files().len(), 1);
    }
}

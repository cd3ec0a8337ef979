//! Listing sessions without reading their transcripts.
//!
//! Guarantees: metadata is read from the latest change on and no further than the limit asks
//! for; of each file only the keys that a summary needs are kept. A broken session is
//! listed as broken.

use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use amplifier_core::{SessionId, Timestamp};

use super::super::error::json_reason;
use super::super::{ProjectPaths, ProjectScope, SessionQuery, SessionSummary, StorageError};
use super::folder::{METADATA, TRANSCRIPT, backup_of};
use crate::storage::query::Head;
use amplifier_fs::read;

/// Sessions from which on several threads ask for their times: the kernel's way to each file is most of a list.
const MANY: usize = 1_000;
/// Threads that ask at most.
const MAX_THREADS: usize = 4;

struct Candidate {
    id: SessionId,
    project: String,
    folder: PathBuf,
    updated: Option<Timestamp>,
}

pub(super) fn list(paths: &ProjectPaths, query: &SessionQuery) -> Result<Vec<SessionSummary>, StorageError> {
    let mut candidates = Vec::new();
    for project in projects(paths, query.project)? {
        collect(paths, project, query, &mut candidates)?;
    }
    candidates.sort_by(|a, b| b.updated.cmp(&a.updated).then_with(|| a.id.cmp(&b.id)));
    let keyword = query.keyword.as_deref().map(Keyword::new);
    let fitting = candidates
        .into_iter()
        .filter_map(summarise)
        .filter(|summary| query.fits_lineage(summary))
        .filter(|summary| keyword.as_ref().is_none_or(|keyword| keyword.is_in(summary)));
    Ok(fitting.take(query.limit.unwrap_or(usize::MAX)).collect())
}

fn projects(paths: &ProjectPaths, scope: ProjectScope) -> Result<Vec<String>, StorageError> {
    match scope {
        ProjectScope::Current => Ok(vec![paths.slug().to_owned()]),
        ProjectScope::All => {
            let folder = paths.home().join("projects");
            read::names(&folder).map_err(StorageError::io("list", &folder))
        }
    }
}

fn collect(
    paths: &ProjectPaths,
    project: String,
    query: &SessionQuery,
    candidates: &mut Vec<Candidate>,
) -> Result<(), StorageError> {
    let sessions = paths.home().join("projects").join(&project).join("sessions");
    if !read::is_dir(&sessions) {
        return Ok(());
    }
    let names = read::names(&sessions).map_err(StorageError::io("list", &sessions))?;
    // What is no id is no session: hidden files, half removed folders.
    let ids =
        names.into_iter().filter(|name| query.fits_id(name)).filter_map(|name| SessionId::new(name).ok());
    let found: Vec<(SessionId, PathBuf)> = ids.map(|id| (id.clone(), sessions.join(id.as_str()))).collect();
    let times = times(&found);
    for ((id, folder), updated) in found.into_iter().zip(times) {
        if query.fits_time(updated) {
            candidates.push(Candidate { id, project: project.clone(), folder, updated });
        }
    }
    Ok(())
}

/// When each was last changed, in their order.
fn times(found: &[(SessionId, PathBuf)]) -> Vec<Option<Timestamp>> {
    let ask = |part: &[(SessionId, PathBuf)]| -> Vec<_> {
        part.iter().map(|(_, folder)| changed(folder)).collect()
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(MAX_THREADS);
    if found.len() < MANY || threads == 1 {
        return ask(found);
    }
    std::thread::scope(|scope| {
        let parts = found.chunks(found.len().div_ceil(threads));
        let asking: Vec<_> = parts.map(|part| scope.spawn(move || ask(part))).collect();
        let joined = asking.into_iter().map(std::thread::ScopedJoinHandle::join);
        joined.flat_map(|part| part.unwrap_or_else(|panic| std::panic::resume_unwind(panic))).collect()
    })
}

/// When the metadata was last written; without metadata, when the folder was changed.
fn changed(folder: &Path) -> Option<Timestamp> {
    let of = |path: &Path| read::modified(path).ok().flatten();
    let time = of(&folder.join(METADATA)).or_else(|| of(folder))?;
    let micros = time.duration_since(UNIX_EPOCH).ok()?.as_micros();
    i64::try_from(micros).ok().map(Timestamp::from_micros)
}

/// `None` for a folder that is no session: one that a crash left unfinished.
fn summarise(candidate: Candidate) -> Option<SessionSummary> {
    let Candidate { id, project, folder, updated } = candidate;
    let path = folder.join(METADATA);
    let backup = || read::bytes_if_any(&backup_of(&path));
    let content = match read::bytes_if_any(&path) {
        Ok(None) => backup(),
        other => other,
    };
    let mut summary = match content {
        Ok(Some(content)) => match Head::read(&content) {
            Ok(head) => head.summary(id, updated),
            Err(error) => {
                let reason =
                    format!("{METADATA}:{}:{} {}", error.line(), error.column(), json_reason(&error));
                SessionSummary::broken(id, reason, updated)
            }
        },
        Ok(None) => {
            let transcript = folder.join(TRANSCRIPT);
            if !read::is_file(&transcript) && !read::is_file(&backup_of(&transcript)) {
                return None;
            }
            SessionSummary::broken(id, format!("{METADATA} is missing"), updated)
        }
        Err(error) => {
            SessionSummary::broken(id, format!("{METADATA} cannot be read: {}", error.kind()), updated)
        }
    };
    summary.path = Some(folder);
    summary.project = Some(project);
    Some(summary)
}

/// A text to look for in what people see and in the raw lines of the transcript.
struct Keyword {
    plain: String,
    /// As it stands in JSON, without the quotes.
    escaped: String,
}

impl Keyword {
    fn new(keyword: &str) -> Self {
        let plain = keyword.to_lowercase();
        let quoted = serde_json::Value::String(plain.clone()).to_string();
        Self { escaped: quoted[1..quoted.len() - 1].to_owned(), plain }
    }

    fn is_in(&self, summary: &SessionSummary) -> bool {
        summary.says(&self.plain) || self.is_in_transcript(summary)
    }

    fn is_in_transcript(&self, summary: &SessionSummary) -> bool {
        let Some(folder) = &summary.path else { return false };
        let Ok(content) = read::whole(&folder.join(TRANSCRIPT)) else { return false };
        String::from_utf8_lossy(&content).to_lowercase().contains(&self.escaped)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_times_come_in_the_order_of_their_folders() {
        let dir = tempfile::tempdir().unwrap();
        let found: Vec<(SessionId, PathBuf)> = (0..MANY + 3)
            .map(|n| (SessionId::new(format!("s{n}")).unwrap(), dir.path().join(format!("s{n}"))))
            .collect();
        for (_, folder) in found.iter().step_by(2) {
            std::fs::create_dir(folder).unwrap();
        }
        let all = times(&found);
        assert_eq!(all.len(), found.len());
        for (n, (_, folder)) in found.iter().enumerate() {
            assert_eq!((all[n], all[n].is_some()), (changed(folder), n % 2 == 0));
        }
    }
}

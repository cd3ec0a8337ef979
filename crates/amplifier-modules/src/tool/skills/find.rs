//! Where skills are looked for, and which of several with one name counts.
//!
//! Guarantees: the first that is found counts; what a project brings that nobody trusts comes after the user's own;
//! what cannot be read is named, and the rest works; links that lead in a circle end.

use std::path::{Path, PathBuf};

use amplifier_core::SessionEnv;
use amplifier_foundation::fs::read;
use amplifier_foundation::source::uri::{GitUri, SourceUri};
use amplifier_foundation::spawn::Spawner;

use super::skill::{FILE, Skill};

/// Most skills of a session.
const MAX_SKILLS: usize = 500;
/// Most entries of a folder of skills.
const MAX_ENTRIES: usize = 2_000;
/// How deep below such a folder a skill may be.
const DEPTH: usize = 3;

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) skills: Vec<Skill>,
    /// What could not be read, one line each.
    pub(super) broken: Vec<String>,
}

/// Folders of skills, the first counts first. `configured` are paths, `namespace:path` and git addresses.
pub(super) async fn folders(env: &SessionEnv, configured: &[String]) -> (Vec<PathBuf>, Vec<String>) {
    let spawner = env.coordinator.capability::<Spawner>();
    let (mut folders, mut broken) = (Vec::new(), Vec::new());
    for written in configured {
        match place(env, spawner.as_deref(), written).await {
            Ok(folder) => folders.push(folder),
            Err(why) => broken.push(why),
        }
    }
    let project = [env.cwd.join(".amplifier/skills"), env.cwd.join(".claude/skills")];
    let host = spawner.as_ref().map(|spawner| spawner.host());
    let home = host.and_then(|host| host.home()).map(|home| home.join("skills"));
    let neighbour = host.and_then(|host| host.user_home()).map(|home| home.join(".claude/skills"));
    let own = home.into_iter().chain(neighbour);
    match host.is_some_and(|host| host.is_untrusted()) {
        true => folders.extend(own.chain(project)),
        false => folders.extend(project.into_iter().chain(own)),
    }
    if let Some(spawner) = &spawner {
        let bundle = spawner.bundle();
        let bases = bundle.base_path.iter().chain(bundle.namespaces.values());
        folders.extend(bases.map(|base| base.join("skills")));
    }
    (folders, broken)
}

/// The folder that a setting means.
async fn place(env: &SessionEnv, spawner: Option<&Spawner>, written: &str) -> Result<PathBuf, String> {
    let missing = |why: &str| format!("skills of `{written}` are left out: {why}");
    if let (Ok(SourceUri::Git(uri)), Some(spawner)) = (written.parse::<SourceUri>(), spawner) {
        return checkout(spawner, &uri).await.map_err(|why| missing(&why));
    }
    if written.starts_with("git+") || written.contains("://") {
        return Err(missing("only folders and git+https addresses are read"));
    }
    if let (Some((namespace, path)), Some(spawner)) =
        (written.trim_start_matches('@').split_once(':'), spawner)
        && let Some(base) = spawner.bundle().namespaces.get(namespace)
    {
        return Ok(base.join(path));
    }
    let resolved =
        env.paths.resolve(&env.cwd, written).map_err(|error| missing(&error.source.to_string()))?;
    let own = resolved.as_path().to_owned();
    let base = spawner.and_then(|spawner| spawner.bundle().base_path.clone());
    // What a bundle writes may also mean its own folder.
    let beside = base.map(|base| base.join(written)).filter(|path| !read::is_dir(&own) && read::is_dir(path));
    Ok(beside.unwrap_or(own))
}

/// The folder of a repository, fetched if it is not cached.
#[cfg(feature = "git")]
async fn checkout(spawner: &Spawner, uri: &GitUri) -> Result<PathBuf, String> {
    let root = spawner.host().bundles().git().checkout(uri).await;
    let root = root.map_err(|error| amplifier_core::causes::chain(&error))?;
    let folder = read::canonical(&root.join(uri.subdirectory().unwrap_or_default()));
    let folder = folder.map_err(|_| "the repository has no such folder".to_owned())?;
    match read::canonical(&root).is_ok_and(|root| folder.starts_with(root)) {
        true => Ok(folder),
        false => Err("it leads out of the repository".to_owned()),
    }
}

#[cfg(not(feature = "git"))]
async fn checkout(_spawner: &Spawner, _uri: &GitUri) -> Result<PathBuf, String> {
    Err("this build reads no git addresses".to_owned())
}

/// The skills below these folders.
pub(super) fn below(folders: &[PathBuf]) -> Found {
    let mut found = Found::default();
    let mut seen = Vec::new();
    for folder in folders {
        let Ok(folder) = read::canonical(folder) else { continue };
        if !seen.contains(&folder) {
            look(&folder, 0, &mut found);
            seen.push(folder);
        }
    }
    found
}

fn look(folder: &Path, depth: usize, found: &mut Found) {
    if read::is_file(&folder.join(FILE)) {
        match Skill::read(folder) {
            Ok(skill) if found.skills.len() >= MAX_SKILLS => {
                let line = format!("there are more than {MAX_SKILLS} skills; the rest is left out");
                if !found.broken.contains(&line) {
                    found.broken.push(line);
                }
                drop(skill);
            }
            Ok(skill) if found.skills.iter().all(|known| known.name != skill.name) => {
                found.skills.push(skill)
            }
            Ok(_) => {}
            Err(why) => found.broken.push(why),
        }
        return;
    }
    if depth == DEPTH || found.skills.len() >= MAX_SKILLS {
        return;
    }
    let Ok((entries, _)) = read::list(folder, MAX_ENTRIES) else { return };
    for entry in entries.into_iter().filter(|entry| !entry.name.starts_with('.')) {
        let path = folder.join(&entry.name);
        // A skill may be a link to where it is kept; folders of skills are followed no further.
        if entry.directory || read::is_file(&path.join(FILE)) {
            look(&path, depth + 1, found);
        }
    }
}

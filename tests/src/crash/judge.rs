//! The checker of all campaigns, in a process of its own: it has run nothing of what it judges.
//!
//! Guarantees: it is given what was acknowledged, and a folder that nobody has open; it says what was lost, what is
//! there twice, what nobody asked for, and what has another order. A checker that does not answer is a flaw.
//! Never here: a rule; those are [`history`](crate::history)'s, [`verdict`]'s and
//! [`foreman_verdict`]'s.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use amplifier_foundation::store::OwnerId;
use serde::{Deserialize, Serialize};

use super::fleet::Place;
use super::foreman_verdict::{self, History};
use super::verdict::{self, Acknowledged, Looked};
use super::{program, store};
use crate::history::Told;
use crate::on_disk;

/// The word by which the program of the campaigns becomes a checker.
pub const WORD: &str = "judge";

/// What is to be judged.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Case {
    /// The store of a folder, and what its writers said.
    Store {
        /// The folder.
        folder: PathBuf,
        /// Lines `begin` and `ok`.
        said: String,
    },
    /// A project with background sessions.
    Background {
        /// The folder around it.
        around: PathBuf,
        /// What was acknowledged.
        told: Acknowledged,
    },
    /// A project with a crew.
    Foreman {
        /// The folder of its store.
        store: Option<PathBuf>,
        /// What other processes have read.
        history: History,
    },
}

/// What came of it.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Judgement {
    /// What is wrong.
    pub flaws: Vec<String>,
    /// What was looked at.
    pub looked: Looked,
}

/// Has another process judge a case.
pub fn ask(case: &Case) -> Judgement {
    let mut command = Command::new(program("crash-campaign"));
    command.arg(WORD).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let case = serde_json::to_vec(case).unwrap();
    child.stdin.take().unwrap().write_all(&case).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    serde_json::from_str(said.lines().last().unwrap_or_default()).unwrap_or_else(|_| {
        let complaints = String::from_utf8_lossy(&output.stderr);
        let flaws = vec![format!("the checker ended with {}: {complaints}", output.status)];
        Judgement { flaws, looked: Looked::default() }
    })
}

/// Judges, in the process that was asked.
pub async fn judge(case: Case) -> Judgement {
    match case {
        Case::Store { folder, said } => {
            let flaws = store::flaws(&folder, &Told::read(&said)).await;
            Judgement {
                flaws: flaws.iter().map(|flaw| format!("{flaw:?}")).collect(),
                looked: Looked::default(),
            }
        }
        Case::Background { around, told } => {
            let (flaws, looked) = verdict::flaws(&Place::in_folder(&around), &told).await;
            Judgement { flaws, looked }
        }
        Case::Foreman { store, history } => {
            let mut flaws = foreman_verdict::flaws(&history);
            if let Some(folder) = store {
                let store = on_disk::shared(&folder, &OwnerId::new("checker").unwrap());
                flaws.extend(store.check().await.unwrap());
            }
            Judgement { flaws, looked: Looked::default() }
        }
    }
}

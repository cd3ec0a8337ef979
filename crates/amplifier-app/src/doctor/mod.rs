//! What is right and wrong here: the checks of both programs' `doctor`, and how they are told.
//!
//! Guarantees: nothing is changed, nothing is started, no model and no server is asked; each check has its own line,
//! whatever the others found; no key is shown. Exit code 0 says that nothing stands in the way of a session.
//! Never here: a repair.

mod machine;
mod project;
mod providers;
mod settings;

use std::io::IsTerminal;
use std::sync::Arc;

use amplifier_foundation::Host;
use amplifier_foundation::bundle::{Diagnostic, Severity};
use amplifier_foundation::host::SystemClock;
use amplifier_foundation::settings::environment::ProcessEnv;
use amplifier_foundation::settings::home::AmplifierHome;
use amplifier_foundation::settings::{Flags, SettingsError};
use serde::Serialize;
use serde_json::json;

use crate::context::{Context, Program};
use crate::exit::{Failure, print_json};
use crate::setup::{Setup, SetupError};
use crate::terminal::{Code, Style, chain, plain, print};

/// How a check came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Grade {
    /// As it should be.
    Ok,
    /// Something that one may want to know.
    Warn,
    /// Something that stands in the way.
    Fail,
}

impl Grade {
    fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Fail => "fail",
        }
    }
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What it is about.
    #[serde(rename = "check")]
    about: &'static str,
    grade: Grade,
    told: String,
    /// How to mend it.
    #[serde(skip_serializing_if = "Option::is_none")]
    help: Option<String>,
}

/// All that was looked at, in order.
#[derive(Debug, Default)]
pub struct Checks {
    all: Vec<Check>,
    settings: Vec<settings::Listed>,
}

impl Checks {
    /// Something is as it should be.
    pub fn ok(&mut self, about: &'static str, told: impl Into<String>) {
        self.add(about, Grade::Ok, told.into(), None);
    }

    /// Something that one may want to know, and what to do.
    pub fn warn(&mut self, about: &'static str, told: impl Into<String>, help: impl Into<String>) {
        self.add(about, Grade::Warn, told.into(), Some(help.into()));
    }

    /// Something stands in the way; what to do.
    pub fn fail(&mut self, about: &'static str, told: impl Into<String>, help: impl Into<String>) {
        self.add(about, Grade::Fail, told.into(), Some(help.into()));
    }

    /// An error stands in the way; its message says what to do.
    pub fn error(&mut self, about: &'static str, error: &dyn std::error::Error) {
        self.add(about, Grade::Fail, chain(error), None);
    }

    /// What was noticed in a file, by how much it matters.
    pub fn diagnostic(&mut self, about: &'static str, diagnostic: &Diagnostic) {
        let grade = match diagnostic.severity {
            Severity::Error => Grade::Fail,
            Severity::Warning => Grade::Warn,
            _ => return,
        };
        let mut place = diagnostic.clone();
        let help = place.help.take();
        self.add(about, grade, place.to_string(), help);
    }

    fn add(&mut self, about: &'static str, grade: Grade, told: String, help: Option<String>) {
        self.all.push(Check { about, grade, told, help: help.filter(|help| !help.is_empty()) });
    }

    /// Prints them; 0 where nothing stands in the way, else 2.
    pub fn tell(&self, program: Program, as_json: bool) -> Result<Code, Failure> {
        let well = !self.all.iter().any(|check| check.grade == Grade::Fail);
        let printed = if as_json {
            print_json(&json!({
                "ok": well, "program": program.name, "version": env!("CARGO_PKG_VERSION"),
                "platform": machine::platform(), "checks": self.all, "settings": self.settings,
            }))?
        } else {
            print(&self.text(Style::of(std::io::stdout().is_terminal())))
        };
        match (printed, well) {
            (Code::Success, true) => Ok(Code::Success),
            (Code::Success, false) => Ok(Code::Usage),
            (gone, _) => Ok(gone),
        }
    }

    fn text(&self, style: Style) -> String {
        let mut text = String::new();
        let mut line = |grade: Grade, about: &str, told: &str, help: Option<&str>| {
            let line = format!("{:<5} {about:<13} {}", grade.as_str(), plain(told));
            text.push_str(&match grade {
                Grade::Ok => line,
                Grade::Warn => style.warning(&line),
                Grade::Fail => style.failure(&line),
            });
            text.push('\n');
            if let Some(help) = help {
                text.push_str(&format!("{:19} help: {}\n", "", plain(help)));
            }
        };
        for check in &self.all {
            line(check.grade, check.about, &check.told, check.help.as_deref());
        }
        for set in &self.settings {
            line(Grade::Ok, "setting", &set.to_string(), None);
        }
        text
    }
}

/// What was looked at, and what is there to go on with.
#[derive(Debug)]
pub struct Seen {
    /// What was found.
    pub checks: Checks,
    /// Where the program works, if that could be told.
    pub place: Option<(Context, Host)>,
}

/// Looks at all that both programs need.
pub async fn look(program: Program) -> Seen {
    let mut checks = Checks::default();
    let version = env!("CARGO_PKG_VERSION");
    checks.ok("version", format!("{} {version} on {}", program.name, machine::platform()));
    let home = match AmplifierHome::discover(&ProcessEnv::capture()) {
        Ok(home) => home,
        Err(error) => {
            checks.error("home", &error);
            machine::look(program, None, &mut checks);
            return Seen { checks, place: None };
        }
    };
    let place = match Setup::open(None, &Flags::default(), Arc::new(SystemClock::new())) {
        Ok(setup) => project::look(Context::of(program, setup), &mut checks).await,
        Err(error) => {
            setup_fault(&error, &mut checks);
            None
        }
    };
    machine::look(program, Some(&home), &mut checks);
    Seen { checks, place }
}

fn setup_fault(error: &SetupError, checks: &mut Checks) {
    match error {
        SetupError::Settings(SettingsError::Files { diagnostics }) => {
            diagnostics.iter().for_each(|one| checks.diagnostic("settings", one));
        }
        SetupError::Keys(error) => checks.error("keys", error),
        other => checks.error("settings", other),
    }
}

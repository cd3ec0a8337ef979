//! `/goal`: a condition that is worked on until somebody else says that it is met.
//!
//! Guarantees: after each turn a session without tools, with the provider of the one that works, is asked whether the
//! condition is met; the one that works never decides. A goal ends exactly once: achieved, at its cap of turns,
//! stalled (twice no progress, after one turn that was told so), cancelled, or failed.
//! Never here: the turns themselves.

use std::sync::Arc;
use std::time::Duration;

use amplifier_core::SessionOutcome;
use amplifier_foundation::bundle::PreparedBundle;
use amplifier_foundation::spawn::{ContextDepth, ContextRequest, ContextScope, SpawnResult};
use amplifier_foundation::{Host, SpawnRequest, spawn_bundle};
use serde::Deserialize;

use super::conversation::first_turn;
use crate::terminal::{Code, chain, plain, say};

/// The bundle of the one who decides: no tools, and the provider of the session that it judges.
const JUDGE: &str = "bundle: {name: goal-evaluator, version: 1.0.0, description: Decides whether a goal is met}\n\
                     session: {orchestrator: loop-basic, context: context-simple}\n\
                     instruction: You decide whether a goal is met. You never work on it.\n";

/// How long a decision may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// Turns without progress that end a goal.
const STALLS: u32 = 2;

/// What `/goal` was told.
#[derive(Debug, PartialEq, Eq)]
pub enum GoalCommand {
    /// How it stands.
    Show,
    /// It is given up.
    Clear,
    /// A new one.
    Set(Goal),
}

/// A goal that is worked on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Goal {
    condition: String,
    max_turns: Option<u32>,
    turns: u32,
    stalls: u32,
    reason: Option<String>,
}

/// How a goal ended.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum GoalEnd {
    /// The condition is met.
    Achieved,
    /// It had as many turns as it may have.
    Capped,
    /// Nothing moved any more.
    Stalled,
    /// Somebody stopped it.
    Cancelled,
    /// A turn failed, or nobody could decide.
    Failed(String),
}

impl GoalEnd {
    /// The exit code of a run that pursued nothing else.
    pub fn code(&self) -> Code {
        match self {
            Self::Achieved => Code::Success,
            Self::Capped => Code::Limit,
            Self::Cancelled => Code::Interrupted,
            Self::Stalled | Self::Failed(_) => Code::Failed,
        }
    }
}

/// What comes after a turn.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// The next turn says this.
    Again(String),
    /// There is none.
    Ended(GoalEnd),
}

/// What the one who decides has said.
#[derive(Debug, Deserialize, PartialEq, Eq)]
struct Verdict {
    achieved: bool,
    #[serde(default = "yes")]
    progress: bool,
    #[serde(default)]
    reason: String,
}

fn yes() -> bool {
    true
}

impl GoalCommand {
    /// Reads what stands behind `/goal`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        match text.to_lowercase().as_str() {
            "" | "show" => return Ok(Self::Show),
            "clear" | "stop" | "off" | "reset" | "none" | "cancel" => return Ok(Self::Clear),
            _ => {}
        }
        let (max_turns, condition) = match text.strip_prefix("--max-turns") {
            None => (None, text),
            Some(rest) => {
                let rest = rest.trim_start_matches('=').trim_start();
                let (count, condition) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
                let count = count.parse().ok().filter(|count: &u32| *count > 0);
                (Some(count.ok_or("--max-turns needs a number from 1 up")?), condition.trim())
            }
        };
        if condition.is_empty() {
            return Err("say what is to be achieved: /goal [--max-turns N] CONDITION".to_owned());
        }
        let condition = condition.to_owned();
        Ok(Self::Set(Goal { condition, max_turns, turns: 0, stalls: 0, reason: None }))
    }
}

impl Goal {
    /// The goal of a prompt that begins with `/goal`, if it sets one.
    pub fn of_prompt(text: &str) -> Option<Result<Self, String>> {
        let rest = text.trim_start().strip_prefix("/goal")?;
        if !rest.is_empty() && !rest.starts_with(char::is_whitespace) {
            return None;
        }
        Some(match GoalCommand::parse(rest) {
            Ok(GoalCommand::Set(goal)) => Ok(goal),
            Ok(_) => Err("say what is to be achieved: /goal [--max-turns N] CONDITION".to_owned()),
            Err(error) => Err(error),
        })
    }

    /// What the first turn says.
    pub fn first(&self) -> String {
        format!(
            "Goal: {}\n\nWork until it is achieved. After each of your turns somebody else checks whether it is.",
            self.condition
        )
    }

    /// How it stands, for people.
    pub fn standing(&self) -> String {
        let cap = self.max_turns.map(|cap| format!(" of {cap}")).unwrap_or_default();
        let reason = self.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
        plain(&format!("goal: {} ({}{cap} turns{reason})", self.condition, self.turns)).into_owned()
    }

    /// How it ended, for people.
    pub fn told(&self, end: &GoalEnd) -> String {
        let turns = if self.turns == 1 { "1 turn".to_owned() } else { format!("{} turns", self.turns) };
        let reason = self.reason.as_deref().map(|reason| format!(": {reason}")).unwrap_or_default();
        let text = match end {
            GoalEnd::Achieved => format!("goal achieved after {turns}{reason}"),
            GoalEnd::Capped => format!("goal not achieved: {turns} are all it may have{reason}"),
            GoalEnd::Stalled => format!("goal not achieved: no progress after {turns}{reason}"),
            GoalEnd::Cancelled => format!("goal cancelled after {turns}"),
            GoalEnd::Failed(error) => format!("goal not achieved: {error}"),
        };
        plain(&text).into_owned()
    }

    /// A turn of the session has its answer: is the condition met?
    pub async fn judge(&mut self, host: &Host, session: &SpawnResult) -> Step {
        self.turns += 1;
        match self.verdict(host, session).await {
            Ok(verdict) => self.step(verdict),
            Err(_) if session.session().try_outcome().is_some() => Step::Ended(GoalEnd::Cancelled),
            Err(error) => Step::Ended(GoalEnd::Failed(format!("nobody could decide: {error}"))),
        }
    }

    fn step(&mut self, verdict: Verdict) -> Step {
        let Verdict { achieved, progress, reason } = verdict;
        let reason = reason.replace(['\n', '\r'], " ");
        self.reason = (!reason.trim().is_empty()).then(|| reason.trim().to_owned());
        if achieved {
            return Step::Ended(GoalEnd::Achieved);
        }
        if self.max_turns.is_some_and(|cap| self.turns >= cap) {
            return Step::Ended(GoalEnd::Capped);
        }
        self.stalls = if progress { 0 } else { self.stalls + 1 };
        if self.stalls >= STALLS {
            return Step::Ended(GoalEnd::Stalled);
        }
        let why = self.reason.as_deref().unwrap_or("it is not met");
        let how = match self.stalls {
            0 => "Go on.",
            _ => {
                "No progress was seen. Find out what blocks you, and try another way; if nothing is left to try, say so."
            }
        };
        Step::Again(format!("The goal is not achieved yet: {why}\n\nGoal: {}\n\n{how}", self.condition))
    }

    /// Asks the one who decides; once more where the answer is none.
    async fn verdict(&self, host: &Host, session: &SpawnResult) -> Result<Verdict, String> {
        let bundle = PreparedBundle::from_str("goal-evaluator", JUDGE).map_err(|error| chain(&error))?;
        let bundle = Arc::new(bundle);
        let mut last = String::new();
        for _ in 0..2 {
            let request = SpawnRequest::new(Arc::clone(&bundle), question(&self.condition))
                .parent(session.id().clone())
                .context(ContextRequest::quoted(ContextDepth::Recent(3), ContextScope::Full))
                .timeout(PATIENCE);
            let asked = spawn_bundle(host, request).await.map_err(|error| chain(&error))?;
            let outcome: Arc<SessionOutcome> = asked.outcome().await;
            if !outcome.is_completed() {
                return Err(outcome
                    .error
                    .as_ref()
                    .map_or("it was stopped".to_owned(), |e| e.message.clone()));
            }
            match read(&outcome.output) {
                Some(verdict) => return Ok(verdict),
                None => last = outcome.output.chars().take(80).collect(),
            }
        }
        Err(format!("the answer is no decision: {last}"))
    }
}

fn question(condition: &str) -> String {
    format!(
        "<goal>\n{condition}\n</goal>\n\nIs the goal met, by what the conversation shows? Claims without evidence do \
         not count. Answer with one JSON object and nothing else: {{\"achieved\": true or false, \"progress\": true \
         if the last turn brought it nearer, \"reason\": \"one sentence\"}}"
    )
}

/// The decision in an answer, whatever stands around it.
fn read(answer: &str) -> Option<Verdict> {
    let (from, to) = (answer.find('{')?, answer.rfind('}')?);
    serde_json::from_str(answer.get(from..=to)?).ok()
}

/// Works on a goal in a session that stays open, whose first turn runs; ends the session.
pub async fn pursue(mut goal: Goal, host: Host, session: SpawnResult) -> (Goal, GoalEnd) {
    let mut turn = first_turn(session.clone()).await;
    let end = loop {
        match turn {
            Err(_) if session.session().try_outcome().is_some() => break GoalEnd::Cancelled,
            Err(error) => break GoalEnd::Failed(error),
            Ok(_) => {}
        }
        match goal.judge(&host, &session).await {
            Step::Ended(end) => break end,
            Step::Again(text) => {
                say(&goal.standing());
                turn = session.session().execute(text).await.map(|reply| reply.text).map_err(|e| chain(&e));
            }
        }
    };
    session.session().end().await;
    (goal, end)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn goal(text: &str) -> Goal {
        match GoalCommand::parse(text) {
            Ok(GoalCommand::Set(goal)) => goal,
            other => panic!("{other:?}"),
        }
    }

    fn verdict(achieved: bool, progress: bool) -> Verdict {
        Verdict { achieved, progress, reason: "because".to_owned() }
    }

    #[test]
    fn what_stands_behind_goal_is_read() {
        let check = |text: &str, condition: &str, cap: Option<u32>| {
            let goal = goal(text);
            assert_eq!((goal.condition.as_str(), goal.max_turns), (condition, cap), "{text}");
        };
        check("all tests pass", "all tests pass", None);
        check("--max-turns 3 all pass", "all pass", Some(3));
        check("--max-turns=3 all pass", "all pass", Some(3));
        assert_eq!(GoalCommand::parse(""), Ok(GoalCommand::Show));
        assert_eq!(GoalCommand::parse(" Off "), Ok(GoalCommand::Clear));
        for wrong in ["--max-turns", "--max-turns 0 x", "--max-turns x y", "--max-turns 3"] {
            assert!(GoalCommand::parse(wrong).is_err(), "{wrong}");
        }
        assert!(Goal::of_prompt("/goals x").is_none() && Goal::of_prompt("goal").is_none());
        assert!(Goal::of_prompt("/goal x").is_some_and(|goal| goal.is_ok()));
        assert!(Goal::of_prompt("/goal clear").is_some_and(|goal| goal.is_err()));
    }

    #[test]
    fn a_goal_ends_achieved_capped_or_stalled() {
        let mut met = goal("x");
        assert!(matches!(met.step(verdict(false, true)), Step::Again(text) if text.contains("Go on")));
        assert_eq!(met.step(verdict(true, false)), Step::Ended(GoalEnd::Achieved));
        let mut capped = goal("--max-turns 2 x");
        capped.turns = 1;
        assert!(matches!(capped.step(verdict(false, true)), Step::Again(_)));
        capped.turns = 2;
        assert_eq!(capped.step(verdict(false, true)), Step::Ended(GoalEnd::Capped));
        let mut stalled = goal("x");
        assert!(
            matches!(stalled.step(verdict(false, false)), Step::Again(text) if text.contains("another way"))
        );
        assert_eq!(stalled.step(verdict(false, false)), Step::Ended(GoalEnd::Stalled));
        let mut moves = goal("x");
        moves.step(verdict(false, false));
        moves.step(verdict(false, true));
        assert!(matches!(moves.step(verdict(false, false)), Step::Again(_)), "a stall before counts no more");
    }

    #[test]
    fn a_decision_is_found_in_what_is_around_it() {
        let found = read("Sure:\n```json\n{\"achieved\": true, \"reason\": \"done\"}\n```");
        assert_eq!(found, Some(Verdict { achieved: true, progress: true, reason: "done".to_owned() }));
        assert_eq!(read("yes"), None);
        assert_eq!(read("} {"), None);
    }
}

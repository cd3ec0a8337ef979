//! What `amplifier` adds to a conversation: the requests for its sessions, and what its slash commands stand on.

use std::path::Path;
use std::sync::Arc;

use amplifier_app::chat::editor::Options;
use amplifier_app::chat::{
    Beginning, Conversation, Entry, Face, Goal, GoalEnd, Next, Program, Screen, Step, Thinking, Turned, Words,
};
use amplifier_core::SessionId;
use amplifier_core::approval::Approver;
use amplifier_core::permission::{Mode, Permissions};
use amplifier_foundation::bundle::PreparedBundle;
use amplifier_foundation::host::SystemClock;
use amplifier_foundation::storage::SessionQuery;
use amplifier_foundation::{Host, SpawnRequest};

use super::commands::{self, COMMANDS};
use crate::args::run::RunArgs;
use crate::context::{self, Context};
use crate::exit::{Code, Failure};
use crate::output::{self, Style};
use crate::run;

/// The hook whose settings say what is drawn.
const DISPLAY: &str = "hooks-streaming-ui";

/// Sessions whose ids are completed.
const MAX_SESSIONS: usize = 50;

/// Makes hosts: who sees what happens, and who is asked.
pub(super) struct Opener {
    pub(super) face: Arc<dyn Face>,
    pub(super) asks: Arc<dyn Approver>,
}

impl Opener {
    /// A host for what was typed.
    pub(super) async fn open(&self, context: &Context, args: &RunArgs) -> Result<Host, Failure> {
        self.open_with(context, args, self.permissions(context, args)?).await
    }

    async fn open_with(
        &self,
        context: &Context,
        args: &RunArgs,
        permissions: Permissions,
    ) -> Result<Host, Failure> {
        let builder = context.builder(args.options.strict).permissions(permissions);
        let builder = builder.display(Arc::clone(&self.face) as Arc<_>).approver(Arc::clone(&self.asks));
        builder.open(context.cwd()).await.map_err(|error| Failure::config(&error))
    }

    fn permissions(&self, context: &Context, args: &RunArgs) -> Result<Permissions, Failure> {
        context.permissions(&run::directories(&args.options.add_dir, context)?, self.asks.can_answer())
    }
}

/// The conversation's program.
pub(super) struct Chat {
    /// What was typed, with what slash commands have changed.
    pub(super) args: RunArgs,
    pub(super) context: Context,
    opener: Opener,
    /// The mode of sessions that begin, and what it allows: what a person began with, or a wider one chosen since.
    began: Mode,
    permissions: Permissions,
    /// What the chosen mode allows, where that is another one.
    passing: Permissions,
    /// A summary with which the next session begins.
    pub(super) carried: Option<String>,
    pub(super) words: Arc<Words>,
    by_project: bool,
    /// Another bundle for the session that is gone on with.
    pub(super) other_bundle: Option<String>,
    pub(super) goal: Option<Goal>,
    /// How the last goal ended.
    pub(super) goal_before: Option<String>,
}

impl Chat {
    pub(super) fn new(
        args: RunArgs,
        context: Context,
        opener: Opener,
        words: Arc<Words>,
        by_project: bool,
    ) -> Result<Self, Failure> {
        let permissions = opener.permissions(&context, &args)?;
        let began = context.mode();
        let other_bundle =
            args.options.bundle.clone().filter(|_| args.resume.is_some() || args.continue_last);
        Ok(Self {
            args,
            context,
            opener,
            began,
            permissions,
            passing: Permissions::unrestricted(),
            carried: None,
            words,
            by_project,
            other_bundle,
            goal: None,
            goal_before: None,
        })
    }

    pub(super) fn face(&self) -> Arc<dyn Face> {
        Arc::clone(&self.opener.face)
    }

    /// What a person is told first.
    pub(super) async fn greet(
        &self,
        host: &Host,
        beginning: &Beginning,
        screen: Option<&Screen>,
    ) -> Result<(), Failure> {
        let source = self.source(host, beginning).await?;
        let bundle = prepare(host, &source).await?;
        context::tell(&bundle.diagnostics);
        if self.context.is_scripted(&bundle) {
            output::say("notice: provider scripted answers from a script; no model is asked");
        }
        if let Some(screen) = screen {
            if thinks_aloud(&bundle) {
                screen.think_aloud(Thinking::Dimmed);
            }
            let version = env!("CARGO_PKG_VERSION");
            let line = format!("amplifier {version} · {} · /help tells what there is", bundle.name);
            output::say(&Style::stderr().dim(&line));
            self.learn(host, Some(&bundle));
        }
        Ok(())
    }

    /// Where the bundle of the session comes from.
    pub(super) async fn source(&self, host: &Host, beginning: &Beginning) -> Result<String, Failure> {
        let id = match (beginning, &self.other_bundle) {
            (Beginning::New(source), _) => return Ok(source.clone()),
            (_, Some(other)) => return Ok(other.clone()),
            (Beginning::Resume(id), None) => id,
        };
        let metadata = host.storage().load(id).await?.metadata;
        // The reference system writes `bundle:name`.
        let named = metadata.bundle.map(|name| name.strip_prefix("bundle:").unwrap_or(&name).to_owned());
        let source = metadata.amplifier.bundle_source.or(named);
        Ok(source.unwrap_or_else(|| self.context.active().name))
    }

    /// The bundle of the session that is open or comes next.
    pub(super) async fn bundle(&self, talk: &Conversation) -> Result<Arc<PreparedBundle>, Failure> {
        let beginning = match talk.session_id() {
            Some(id) => Beginning::Resume(id.clone()),
            None => talk.beginning().clone(),
        };
        prepare(talk.host(), &self.source(talk.host(), &beginning).await?).await
    }

    /// Words that the editor completes. Sessions are read beside the conversation.
    pub(super) fn learn(&self, host: &Host, bundle: Option<&PreparedBundle>) {
        self.words.set("bundle", host.bundles().names().into_iter().map(|(name, _)| name));
        if let Some(bundle) = bundle {
            self.words.set("agent", bundle.agents.keys().cloned());
            let of_bundle = bundle.plan.providers.iter();
            let of_settings = self.context.settings().providers.iter().map(|set| &set.value);
            let name = |key: &str| key.strip_prefix("provider-").unwrap_or(key).to_owned();
            self.words.set("provider", of_bundle.chain(of_settings).map(|spec| name(spec.key())));
        }
        let (words, storage) = (Arc::clone(&self.words), Arc::clone(host.storage()));
        tokio::spawn(async move {
            let query = SessionQuery::default().top_level().limit(MAX_SESSIONS);
            let sessions = storage.list(&query).await.unwrap_or_default();
            words.set("session", sessions.into_iter().map(|session| session.id.to_string()));
        });
    }

    /// Reads settings again under what a slash command changes. What cannot be is undone.
    pub(super) fn change(&mut self, change: impl FnOnce(&mut RunArgs)) -> Result<(), Failure> {
        let mut args = self.args.clone();
        change(&mut args);
        let context = self.at(&args)?;
        let chosen = self.opener.permissions(&context, &args)?;
        let mut began = args.clone();
        began.options.permission_mode = Some(self.began);
        (self.permissions, self.passing) = match context.mode() == self.began {
            true => (chosen, Permissions::unrestricted()),
            false => (self.opener.permissions(&self.at(&began)?, &began)?, chosen),
        };
        (self.args, self.context) = (args, context);
        Ok(())
    }

    fn at(&self, args: &RunArgs) -> Result<Context, Failure> {
        let flags = context::flags(&args.options);
        context::open(args.options.cwd.as_deref(), &flags, Arc::new(SystemClock::new()))
    }

    /// The same for what the host has too, which is what the mode that sessions begin with allows.
    pub(super) async fn reopen(
        &mut self,
        talk: &mut Conversation,
        change: impl FnOnce(&mut RunArgs),
    ) -> Result<(), Failure> {
        self.change(change)?;
        let host = self.opener.open_with(&self.context, &self.args, self.permissions.clone()).await?;
        talk.move_to(host).await;
        Ok(())
    }

    /// The mode that sessions begin with.
    pub(super) fn began(&self) -> Mode {
        self.began
    }

    /// From now on sessions begin with the chosen mode, if it allows more than the one before.
    pub(super) async fn begin_with_mode(&mut self, talk: &mut Conversation) -> Result<(), Failure> {
        let chosen = self.context.mode();
        if width(chosen) <= width(self.began) {
            return Ok(());
        }
        let before = std::mem::replace(&mut self.began, chosen);
        let reopened = self.reopen(talk, |_| {}).await;
        if reopened.is_err() {
            self.began = before;
        }
        reopened
    }

    /// A turn of a goal is over.
    async fn pursue(&mut self, talk: &mut Conversation, turned: &Turned) -> Next {
        let Some(goal) = &mut self.goal else { return Next::Line };
        let step = match (turned, talk.session().cloned()) {
            (Turned::Answered(_), Some(open)) => {
                let host = talk.host().clone();
                tokio::select! {
                    biased;
                    step = goal.judge(&host, &open) => step,
                    signal = talk.signals().next() => match signal {
                        crate::exit::Signalled::Interrupt => Step::Ended(GoalEnd::Cancelled),
                        signal => return Next::Leave(signal.code()),
                    },
                }
            }
            (Turned::Failed(error), _) => Step::Ended(GoalEnd::Failed(error.clone())),
            (Turned::NotBegun(failure), _) => Step::Ended(GoalEnd::Failed(failure.message.clone())),
            _ => Step::Ended(GoalEnd::Cancelled),
        };
        match step {
            Step::Again(text) => {
                output::say(&Style::stderr().dim(&goal.standing()));
                Next::Say(text)
            }
            Step::Ended(end) => {
                let told = goal.told(&end);
                output::say(&told);
                self.goal_before = Some(told);
                self.goal = None;
                Next::Line
            }
        }
    }
}

/// How much a mode allows, beside the others.
fn width(mode: Mode) -> u8 {
    match mode {
        Mode::Plan => 0,
        Mode::DontAsk => 1,
        Mode::BypassPermissions => 3,
        _ => 2,
    }
}

/// A bundle that can be used.
pub(super) async fn prepare(host: &Host, source: &str) -> Result<Arc<PreparedBundle>, Failure> {
    context::prepared(host, source).await
}

/// True if the bundle's display is told to show what the model thinks.
pub(super) fn thinks_aloud(bundle: &PreparedBundle) -> bool {
    let display = bundle.plan.hooks.iter().find(|spec| spec.module == DISPLAY);
    let Some(config) = display.map(|spec| &spec.config) else { return false };
    let ui = config.get("ui");
    let said = [
        config.get("show_thinking"),
        ui.and_then(|ui| ui.get("show_thinking")),
        ui.and_then(|ui| ui.get("show_thinking_stream")),
    ];
    said.into_iter().flatten().any(|value| value.as_bool() == Some(true))
}

/// The editor of a chat.
pub(super) fn editor(context: &Context, words: Arc<Words>) -> Options {
    let cwd: &Path = context.cwd();
    Options {
        history: context.home().path().join("history"),
        cwd: cwd.to_owned(),
        commands: &COMMANDS,
        words,
        prompt: "> ",
    }
}

impl Program for Chat {
    fn commands(&self) -> &'static [Entry] {
        &COMMANDS
    }

    fn request(&self, beginning: &Beginning, text: String) -> SpawnRequest {
        let text = match (beginning, &self.carried) {
            (Beginning::New(_), Some(summary)) => format!("{summary}\n\n{text}"),
            _ => text,
        };
        let mut request = run::with_options(beginning.request(text), &self.args, &self.context)
            .permissions(self.permissions.clone())
            .passing(self.passing.clone());
        match beginning {
            Beginning::New(_) => {
                request = request.chosen_by_project(self.by_project);
                let typed = self.args.session_id.as_deref().filter(|_| !self.args.fork_session);
                if let Some(id) = typed.and_then(|id| SessionId::new(id).ok()) {
                    request = request.session_id(id);
                }
            }
            Beginning::Resume(_) => {
                if let Some(other) = &self.other_bundle {
                    request = request.bundle(other.as_str());
                }
            }
        }
        request
    }

    async fn command(
        &mut self,
        talk: &mut Conversation,
        name: &'static str,
        rest: &str,
    ) -> Result<Next, Failure> {
        commands::run(self, talk, name, rest).await
    }

    async fn turned(&mut self, talk: &mut Conversation, turned: &Turned) -> Result<Next, Failure> {
        if let (Turned::Answered(_), Some(_)) = (turned, talk.session()) {
            // The session has these now, and its next one is another.
            self.args.options.name = None;
            self.args.session_id = None;
            self.other_bundle = None;
            self.carried = None;
        }
        Ok(self.pursue(talk, turned).await)
    }

    fn resume_hint(&self, session: &SessionId) -> String {
        format!("amplifier resume {session}")
    }
}

/// The code of a conversation that was left by a command.
pub(super) const LEFT: Code = Code::Success;

//! `foreman open` and `foreman token`: who may reach the daemon over HTTP.
//!
//! Guarantees: a token is printed once and kept as a hash; a link lets in once, for ten minutes.

use amplifier_app::beside::listens_at;
use amplifier_app::command::runs::actor;
use amplifier_app::exit::print_json;
use amplifier_app::terminal::{Code, print, say, table};
use amplifier_foundation::trigger::timer::rfc3339;
use amplifier_web::{AuthError, Logins, Role, TokenInfo, TokenName, Tokens};
use serde_json::{Value, json};

use crate::args::access::{OpenArgs, RoleArg, TokenAddArgs, TokenCommand, TokenListArgs, TokenRevokeArgs};
use crate::daemon::{here, small};
use crate::exit::Failure;

impl From<RoleArg> for Role {
    fn from(role: RoleArg) -> Self {
        match role {
            RoleArg::Read => Self::Read,
            RoleArg::Write => Self::Write,
        }
    }
}

fn refused(error: &AuthError) -> Failure {
    match error {
        AuthError::Store(error) => Failure::store(error),
        other => Failure::config(other),
    }
}

/// Prints a link that lets in once.
pub(crate) fn open(args: &OpenArgs) -> Result<Code, Failure> {
    small(async {
        let host = here()?.host().await?;
        let address = listens_at(&host).await.map_err(|error| Failure::store(&error))?;
        let address = address.ok_or_else(|| {
            Failure::usage("no foreman of this project listens")
                .code(Code::Failed, "no_listener")
                .help("`foreman start --listen 127.0.0.1:8733` does")
        })?;
        let made = Logins::of(&host).link(&actor(), args.role.into()).await;
        let link = made.map_err(|error| refused(&error))?;
        let url = format!("http://{address}{}", link.path());
        if args.json {
            return print_json(&json!({ "url": url, "valid_seconds": amplifier_web::LOGIN_TIME.as_secs() }));
        }
        say("this link lets in once, within ten minutes");
        Ok(print(&format!("{url}\n")))
    })
}

/// Makes, lists and takes back tokens.
pub(crate) fn token(command: &TokenCommand) -> Result<Code, Failure> {
    small(async {
        let host = here()?.host().await?;
        let tokens = Tokens::of(&host);
        match command {
            TokenCommand::Add(args) => add(args, &tokens).await,
            TokenCommand::List(args) => list(args, &tokens).await,
            TokenCommand::Revoke(args) => revoke(args, &tokens).await,
        }
    })
}

fn named(text: &str) -> Result<TokenName, Failure> {
    text.parse().map_err(|error: AuthError| refused(&error))
}

async fn add(args: &TokenAddArgs, tokens: &Tokens) -> Result<Code, Failure> {
    let made = tokens.add(&named(&args.name)?, args.role.into(), &actor()).await;
    let made = made.map_err(|error| refused(&error))?;
    if args.json {
        let mut object = shown(&made.info);
        object["token"] = json!(made.text());
        return print_json(&object);
    }
    say("this token is shown once; keep it where nobody else reads it");
    Ok(print(&format!("{}\n", made.text())))
}

async fn list(args: &TokenListArgs, tokens: &Tokens) -> Result<Code, Failure> {
    let all = tokens.list().await.map_err(|error| refused(&error))?;
    if args.json {
        return print_json(&all.iter().map(shown).collect::<Vec<_>>());
    }
    let row = |info: &TokenInfo| {
        [
            info.name.to_string(),
            info.role.as_str().to_owned(),
            rfc3339(info.created),
            info.by.clone(),
            info.revoked.map_or_else(|| "-".to_owned(), rfc3339),
        ]
    };
    let rows: Vec<[String; 5]> = all.iter().map(row).collect();
    Ok(print(&table(["NAME", "ROLE", "MADE", "BY", "REVOKED"], &rows)))
}

async fn revoke(args: &TokenRevokeArgs, tokens: &Tokens) -> Result<Code, Failure> {
    let name = named(&args.name)?;
    let revoked = tokens.revoke(&name, &actor()).await.map_err(|error| refused(&error))?;
    if args.json {
        return print_json(&json!({ "name": name, "revoked": revoked }));
    }
    if !revoked {
        return Err(Failure::usage(format!("there is no token {name}, or it was taken back before")));
    }
    say(&format!("token {name} lets nobody in any more"));
    Ok(Code::Success)
}

fn shown(info: &TokenInfo) -> Value {
    json!({
        "name": info.name, "role": info.role.as_str(), "created": rfc3339(info.created), "by": info.by,
        "revoked": info.revoked.map(rfc3339),
    })
}

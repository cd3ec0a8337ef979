//! The way of a browser: a link that works once, and the session that it begins.
//!
//! Guarantees: of two who follow the same link one is let in; a link is worth nothing after [`LOGIN_TIME`],
//! a session after [`SESSION_TIME`] or its end, whatever process asks.

use std::fmt;
use std::time::Duration;

use amplifier_core::{Payload, Timestamp};
use amplifier_foundation::Host;
use amplifier_store::{Commit, DedupKey, Receipt, Store, Write};
use serde::{Deserialize, Serialize};

use super::secret::{fresh, hash, is_one};
use super::{AuthError, Identity, Role};

/// How long a login link may wait.
pub const LOGIN_TIME: Duration = Duration::from_secs(10 * 60);
/// How long the session of a browser lasts.
pub const SESSION_TIME: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// What a login link carries: `/login?code=…`. Works once, for [`LOGIN_TIME`].
#[must_use = "a link that is not shown lets nobody in"]
pub struct LoginCode(String);

impl LoginCode {
    /// The path of the link, with its code.
    pub fn path(&self) -> String {
        format!("/login?code={}", self.0)
    }

    /// The same, leading to a page other than the first: `/issues/17`.
    pub fn path_to(&self, page: &str) -> String {
        let page: String = form_urlencoded::byte_serialize(page.as_bytes()).collect();
        format!("{}&to={page}", self.path())
    }
}

impl fmt::Debug for LoginCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LoginCode(…)")
    }
}

#[derive(Serialize, Deserialize)]
struct Stored {
    identity: Identity,
    until: Timestamp,
}

/// A session of a browser.
#[derive(Clone)]
pub(crate) struct Browser {
    pub(crate) identity: Identity,
    /// What its forms must carry.
    pub(crate) csrf: String,
}

/// Login links and the sessions that they begin. Cheap.
#[derive(Debug, Clone)]
pub struct Logins {
    host: Host,
}

impl Logins {
    /// Those of the host's project.
    pub fn of(host: &Host) -> Self {
        Self { host: host.clone() }
    }

    fn store(&self) -> &dyn Store {
        self.host.store().as_ref()
    }

    /// Makes a link in the name of a user of the system. Durable: the process that listens may be another one.
    pub async fn link(&self, actor: &str, role: Role) -> Result<LoginCode, AuthError> {
        let code = fresh(self.host.ids().as_ref());
        let identity = Identity { actor: actor.to_owned(), role };
        let write = self.put("web-login/", &hash("login", &code), identity, LOGIN_TIME)?;
        let _durable = self.store().commit(write.into()).await?;
        Ok(LoginCode(code))
    }

    fn put(&self, prefix: &str, of: &str, identity: Identity, lasts: Duration) -> Result<Write, AuthError> {
        let until = self.host.clock().now().saturating_add(lasts);
        let value = Payload::encode(&Stored { identity, until })?;
        Ok(Write::PutKey { key: key(prefix, of)?, value, retain: lasts })
    }

    async fn read(&self, prefix: &str, of: &str) -> Result<Option<Identity>, AuthError> {
        let stored = self.store().key(&key(prefix, of)?).await?;
        let stored = stored.and_then(|stored| stored.decode::<Stored>().ok());
        let now = self.host.clock().now();
        Ok(stored.filter(|stored| now < stored.until).map(|stored| stored.identity))
    }

    /// Begins a session with the code of a link; its secret. `None`: the code is none, is too old or was used.
    pub(crate) async fn redeem(&self, code: &str) -> Result<Option<String>, AuthError> {
        if !is_one(code) {
            return Ok(None);
        }
        let of = hash("login", code);
        let Some(identity) = self.read("web-login/", &of).await? else { return Ok(None) };
        let session = fresh(self.host.ids().as_ref());
        let used = self.put("web-login-used/", &of, identity.clone(), LOGIN_TIME * 2)?;
        let begun = self.put("web-session/", &hash("session", &session), identity, SESSION_TIME)?;
        match self.store().commit(Commit::from(used).write(begun)).await? {
            Receipt::Applied(_) => Ok(Some(session)),
            _ => Ok(None),
        }
    }

    /// Whose session this is; `None` if it is none.
    pub(crate) async fn session(&self, secret: &str) -> Result<Option<Browser>, AuthError> {
        if !is_one(secret) {
            return Ok(None);
        }
        let of = hash("session", secret);
        let Some(identity) = self.read("web-session/", &of).await? else { return Ok(None) };
        let ended = self.store().key(&key("web-session-ended/", &of)?).await?.is_some();
        let csrf = hash("csrf", secret);
        Ok((!ended).then_some(Browser { identity, csrf }))
    }

    /// Ends a session. Durable.
    pub(crate) async fn end(&self, secret: &str) -> Result<(), AuthError> {
        let value = Payload::encode(&self.host.clock().now())?;
        let key = key("web-session-ended/", &hash("session", secret))?;
        let write = Write::PutKey { key, value, retain: SESSION_TIME };
        let _once = self.store().commit(write.into()).await?;
        Ok(())
    }
}

fn key(prefix: &str, of: &str) -> Result<DedupKey, AuthError> {
    Ok(DedupKey::new(format!("{prefix}{of}"))?)
}

/// The cookie of a project's session. Cookies do not tell ports apart, so that two projects on one machine
/// need two names.
pub(crate) fn cookie_name(host: &Host) -> String {
    let of = blake3::hash(host.project().as_os_str().as_encoded_bytes()).to_hex();
    format!("amplifier_{}", &of.as_str()[..12])
}

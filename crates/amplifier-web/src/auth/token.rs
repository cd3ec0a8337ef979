//! Tokens: what a program shows, `Authorization: Bearer fm_NAME_SECRET`.
//!
//! Guarantees: `Ok` of a change is durable and holds in every process at once; a token that was revoked is
//! none any more, and its name is never given again.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use amplifier_core::{Payload, Timestamp};
use amplifier_foundation::Host;
use amplifier_store::{Commit, DEFAULT_ROWS, DedupKey, Receipt, Store, Write};
use serde::{Deserialize, Serialize};

use super::secret::{fresh, hash, is_one, same};
use super::{AuthError, Identity, Role};

/// Begins every token, so that one that has leaked is recognised.
const MARK: &str = "fm";
const PREFIX: &str = "web-token/";
const REVOKED: &str = "web-token-revoked/";
/// As long as a key can be kept.
pub(super) const FOR_EVER: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

/// The name of a token: 1 to 64 of `a-z`, `0-9` and `-`, beginning with a letter.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TokenName(String);

impl TokenName {
    /// Its text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for TokenName {
    type Err = AuthError;

    fn from_str(text: &str) -> Result<Self, AuthError> {
        let allowed = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-');
        let fits = (1..=64).contains(&text.len())
            && text.as_bytes()[0].is_ascii_lowercase()
            && text.bytes().all(allowed);
        match fits {
            true => Ok(Self(text.to_owned())),
            false => Err(AuthError::Name { text: text.escape_debug().take(80).collect() }),
        }
    }
}

impl TryFrom<String> for TokenName {
    type Error = AuthError;
    fn try_from(text: String) -> Result<Self, AuthError> {
        text.parse()
    }
}

impl From<TokenName> for String {
    fn from(name: TokenName) -> Self {
        name.0
    }
}

impl fmt::Display for TokenName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What is known of a token; not the token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct TokenInfo {
    /// Its name.
    pub name: TokenName,
    /// What it allows.
    pub role: Role,
    /// When it was made.
    pub created: Timestamp,
    /// Who made it.
    pub by: String,
    /// Since when it is none any more.
    pub revoked: Option<Timestamp>,
}

/// A token that was just made. Shown once.
#[must_use = "the token is not shown again"]
pub struct NewToken {
    /// What is known of it.
    pub info: TokenInfo,
    text: String,
}

impl NewToken {
    /// What the program sends behind `Authorization: Bearer`.
    pub fn text(&self) -> &str {
        &self.text
    }
}

impl fmt::Debug for NewToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewToken").field("info", &self.info).finish_non_exhaustive()
    }
}

#[derive(Serialize, Deserialize)]
struct Stored {
    hash: String,
    role: Role,
    created: Timestamp,
    by: String,
}

#[derive(Serialize, Deserialize)]
struct Revoked {
    at: Timestamp,
    by: String,
}

/// The tokens of a project. Cheap.
#[derive(Debug, Clone)]
pub struct Tokens {
    host: Host,
}

impl Tokens {
    /// Those of the host's project.
    pub fn of(host: &Host) -> Self {
        Self { host: host.clone() }
    }

    fn store(&self) -> &dyn Store {
        self.host.store().as_ref()
    }

    /// Makes a token. Durable.
    pub async fn add(&self, name: &TokenName, role: Role, by: &str) -> Result<NewToken, AuthError> {
        let secret = fresh(self.host.ids().as_ref());
        let text = format!("{MARK}_{name}_{secret}");
        let (hash, created) = (hash("token", &text), self.host.clock().now());
        let stored = Stored { hash, role, created, by: by.to_owned() };
        let (key, value) = (key(PREFIX, name)?, Payload::encode(&stored)?);
        let write = Write::PutKey { key, value, retain: FOR_EVER };
        match self.store().commit(Commit::from(write)).await? {
            Receipt::Applied(_) => {
                let info = TokenInfo { name: name.clone(), role, created, by: stored.by, revoked: None };
                Ok(NewToken { info, text })
            }
            _ => Err(AuthError::Taken { name: name.clone() }),
        }
    }

    /// All there are and were, by name.
    pub async fn list(&self) -> Result<Vec<TokenInfo>, AuthError> {
        let (mut found, mut after) = (Vec::new(), None);
        loop {
            let page = self.store().keys(PREFIX, after.as_ref(), DEFAULT_ROWS).await?;
            for (key, value) in &page {
                let name = key.as_str().strip_prefix(PREFIX).and_then(|name| name.parse().ok());
                let (Some(name), Ok(stored)) = (name, value.decode::<Stored>()) else { continue };
                found.push(self.info(name, stored).await?);
            }
            if page.len() < DEFAULT_ROWS {
                return Ok(found);
            }
            after = page.into_iter().next_back().map(|(key, _)| key);
        }
    }

    async fn info(&self, name: TokenName, stored: Stored) -> Result<TokenInfo, AuthError> {
        let revoked = self.store().key(&key(REVOKED, &name)?).await?;
        let revoked = revoked.and_then(|revoked| revoked.decode::<Revoked>().ok()).map(|revoked| revoked.at);
        Ok(TokenInfo { name, role: stored.role, created: stored.created, by: stored.by, revoked })
    }

    async fn stored(&self, name: &TokenName) -> Result<Option<Stored>, AuthError> {
        let stored = self.store().key(&key(PREFIX, name)?).await?;
        Ok(stored.and_then(|stored| stored.decode().ok()))
    }

    /// Takes a token back for ever. Durable; its streams end within a heartbeat. False: it was before.
    pub async fn revoke(&self, name: &TokenName, by: &str) -> Result<bool, AuthError> {
        if self.stored(name).await?.is_none() {
            return Err(AuthError::Unknown { name: name.clone() });
        }
        let value = Payload::encode(&Revoked { at: self.host.clock().now(), by: by.to_owned() })?;
        let write = Write::PutKey { key: key(REVOKED, name)?, value, retain: FOR_EVER };
        let receipt = self.store().commit(Commit::from(write)).await?;
        Ok(receipt.applied().is_some())
    }

    /// Whose token this is; `None` if it is none.
    pub async fn check(&self, text: &str) -> Result<Option<Identity>, AuthError> {
        let mut parts = text.splitn(3, '_');
        let (Some(MARK), Some(name), Some(secret)) = (parts.next(), parts.next(), parts.next()) else {
            return Ok(None);
        };
        let Ok(name) = name.parse::<TokenName>() else { return Ok(None) };
        if !is_one(secret) {
            return Ok(None);
        }
        let Some(stored) = self.stored(&name).await? else { return Ok(None) };
        if !same(&stored.hash, &hash("token", text)) {
            return Ok(None);
        }
        let info = self.info(name, stored).await?;
        let identity = Identity { actor: info.name.0, role: info.role };
        Ok(info.revoked.is_none().then_some(identity))
    }
}

fn key(prefix: &str, name: &TokenName) -> Result<DedupKey, AuthError> {
    Ok(DedupKey::new(format!("{prefix}{name}"))?)
}

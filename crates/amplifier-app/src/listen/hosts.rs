//! Under which names the listener may be called.
//!
//! Guarantees: loopback always may; everything else is named. A page that a browser has loaded from
//! elsewhere cannot call the listener by a name that leads here (DNS rebinding): its name is not in the list.
//! Never here: name resolution.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

/// Longest name of a host, in bytes.
const MAX_HOST_BYTES: usize = 255;
/// Most hosts of one listener.
const MAX_HOSTS: usize = 100;

/// The hosts that requests may name, beside loopback.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AllowedHosts(Vec<Host>);

/// A host, and a port if that counts.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Host {
    name: Name,
    port: Option<u16>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Name {
    Address(IpAddr),
    /// In lower case, without a dot at the end.
    Domain(String),
}

/// Entries of `allowed_hosts` that name no host: all of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidHosts {
    /// Each entry, and what is wrong with it.
    pub faults: Vec<(String, &'static str)>,
}

impl fmt::Display for InvalidHosts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (entry, fault)) in self.faults.iter().enumerate() {
            let end = if at == 0 { "" } else { "; " };
            write!(f, "{end}allowed_hosts: `{entry}` {fault}")?;
        }
        Ok(())
    }
}

impl std::error::Error for InvalidHosts {}

impl AllowedHosts {
    /// Reads a list: `hooks.example.com`, `hooks.example.com:8443`, `192.0.2.7`, `[2001:db8::1]:8443`. Without a
    /// port each port counts. All faults are told at once.
    pub fn parse<I>(entries: I) -> Result<Self, InvalidHosts>
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        let (mut hosts, mut faults) = (Vec::new(), Vec::new());
        for (at, entry) in entries.into_iter().enumerate() {
            let entry = entry.as_ref().trim();
            let shown = || entry.escape_debug().take(80).collect::<String>();
            match declared(entry) {
                _ if at >= MAX_HOSTS => {
                    faults.push((shown(), "is one too many; a listener has at most 100 names"));
                    break;
                }
                Ok(host) => hosts.push(host),
                Err(fault) => faults.push((shown(), fault)),
            }
        }
        if faults.is_empty() { Ok(Self(hosts)) } else { Err(InvalidHosts { faults }) }
    }

    /// True if a request may name this host: what stands in `Host`. `None`: it is no host at all.
    pub fn allow(&self, host: &str) -> Option<bool> {
        let host = Host::parse(host)?;
        let listed = |allowed: &Host| {
            allowed.name == host.name && allowed.port.is_none_or(|port| host.port == Some(port))
        };
        Some(host.name.is_loopback() || self.0.iter().any(listed))
    }
}

fn declared(entry: &str) -> Result<Host, &'static str> {
    if entry.contains("://") || entry.contains('/') {
        return Err("is an address; write the host alone, as in `hooks.example.com`");
    }
    if entry.contains('*') {
        return Err("holds a `*`; name each host");
    }
    // In a list an address needs no brackets.
    let bare = entry.parse::<Ipv6Addr>().ok().map(|address| Host { name: address.into(), port: None });
    bare.or_else(|| Host::parse(entry)).ok_or("is no host; write one such as `hooks.example.com`")
}

impl From<Ipv6Addr> for Name {
    fn from(address: Ipv6Addr) -> Self {
        Self::Address(IpAddr::V6(address).to_canonical())
    }
}

impl Name {
    fn is_loopback(&self) -> bool {
        match self {
            Self::Address(address) => address.is_loopback(),
            Self::Domain(name) => name == "localhost" || name.ends_with(".localhost"),
        }
    }

    fn parse(text: &str) -> Option<Self> {
        if let Ok(address) = text.parse::<std::net::Ipv4Addr>() {
            return Some(Self::Address(address.into()));
        }
        let text = text.strip_suffix('.').unwrap_or(text);
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        let label = |label: &str| !label.is_empty() && label.len() <= 63 && label.chars().all(allowed);
        let well_formed = text.len() <= MAX_HOST_BYTES && text.split('.').all(label);
        // What ends in a number is an address to browsers, in one of their spellings; only the plain one counts.
        let last = text.rsplit('.').next().unwrap_or_default();
        let numeric = last.bytes().all(|byte| byte.is_ascii_digit()) || last.starts_with("0x");
        (well_formed && !numeric).then(|| Self::Domain(text.to_ascii_lowercase()))
    }
}

impl Host {
    /// `host`, `host:port`, `[v6]`, `[v6]:port`.
    fn parse(text: &str) -> Option<Self> {
        if let Some(rest) = text.strip_prefix('[') {
            let (address, rest) = rest.split_once(']')?;
            let name = address.parse::<Ipv6Addr>().ok()?.into();
            let port = if rest.is_empty() { None } else { Some(port(rest.strip_prefix(':')?)?) };
            return Some(Self { name, port });
        }
        match text.split_once(':') {
            Some((name, rest)) => Some(Self { name: Name::parse(name)?, port: Some(port(rest)?) }),
            None => Some(Self { name: Name::parse(text)?, port: None }),
        }
    }
}

fn port(text: &str) -> Option<u16> {
    (text.bytes().all(|digit| digit.is_ascii_digit())).then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_may_and_what_is_listed_may() {
        let listed =
            ["Hooks.Example.com", "other.example.com:8443", "192.0.2.7", "2001:db8::1", "[2001:db8::2]:81"];
        let hosts = AllowedHosts::parse(listed).unwrap();
        for (host, expect) in [
            ("localhost", Some(true)),
            ("LOCALHOST:8080", Some(true)),
            ("localhost.", Some(true)),
            ("app.localhost:1", Some(true)),
            ("127.0.0.1", Some(true)),
            ("127.9.8.7:65535", Some(true)),
            ("[::1]", Some(true)),
            ("[::1]:80", Some(true)),
            ("[0:0:0:0:0:0:0:1]", Some(true)),
            ("[::ffff:127.0.0.1]", Some(true)),
            ("hooks.example.com", Some(true)),
            ("HOOKS.EXAMPLE.COM.:443", Some(true)),
            ("other.example.com:8443", Some(true)),
            ("other.example.com", Some(false)),
            ("other.example.com:844", Some(false)),
            ("192.0.2.7:99", Some(true)),
            ("[2001:DB8::1]:99", Some(true)),
            ("[2001:db8::2]:81", Some(true)),
            ("[2001:db8::2]", Some(false)),
            ("192.0.2.8", Some(false)),
            ("0.0.0.0", Some(false)),
            ("example.com", Some(false)),
            ("hooks.example.com.evil.org", Some(false)),
            ("evil-hooks.example.com", Some(false)),
            ("localhost.evil.org", Some(false)),
            ("127.0.0.1.evil.org", Some(false)),
            // No hosts at all, or spellings that only some programs understand.
            ("", None),
            ("127.1", None),
            ("2130706433", None),
            ("0x7f.0.0.1", None),
            ("localhost:", None),
            ("localhost:99999", None),
            ("localhost:+80", None),
            ("localhost:80:80", None),
            ("user@localhost", None),
            ("localhost/", None),
            ("local host", None),
            ("::1", None),
            ("[::1", None),
            ("[::1]x", None),
            ("[fe80::1%25lo]", None),
            ("a..b", None),
            ("%6cocalhost", None),
        ] {
            assert_eq!(hosts.allow(host), expect, "{host}");
        }
        assert_eq!(AllowedHosts::default().allow("hooks.example.com"), Some(false));
    }

    #[test]
    fn all_faults_of_a_list_are_told_at_once() {
        let error = AllowedHosts::parse(["https://a.example", "*.example", "", "ok.example"]).unwrap_err();
        let told = error.to_string();
        assert_eq!(error.faults.len(), 3);
        for part in ["`https://a.example` is an address", "`*.example` holds a `*`", "`` is no host"] {
            assert!(told.contains(part), "{told}");
        }
        let many = vec!["a.example"; MAX_HOSTS + 1];
        assert_eq!(AllowedHosts::parse(&many).unwrap_err().faults.len(), 1);
        assert!(AllowedHosts::parse(&many[1..]).is_ok());
    }
}

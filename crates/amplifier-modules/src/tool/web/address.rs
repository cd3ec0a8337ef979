//! Which hosts and addresses a fetch may reach.
//!
//! Guarantees: an address that is not on the public internet is refused in every form that leads to it (mapped,
//! compatible, 6to4, NAT64); what is not known to be public is refused; a host counts as somebody's own only if
//! the configuration names it.
//! Never here: a look-up of names, or a connection.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use reqwest::Url;

/// Why a host is out of reach. The text goes to the model.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    #[error("`{0}` is no address; give a whole one, such as https://example.org/page")]
    NoUrl(String),
    #[error("only http and https are fetched, not `{0}`")]
    Scheme(String),
    #[error("the address holds a user name or password; leave them out")]
    Credentials,
    #[error("`{0}` writes an IP address in an unusual way; write it as {1}")]
    Disguised(String, String),
    #[error("{host} is {what}, not on the public internet{way}", way = WAY)]
    Inside { host: String, what: &'static str },
    #[error("{0} is not among the hosts that the configuration allows (`allowed_domains`)")]
    NotAllowed(String),
    #[error("{0} is among the hosts that the configuration refuses (`blocked_domains`)")]
    Blocked(String),
}

const WAY: &str = "; a person can allow a host of their own under `allow_hosts` of tool-web";

/// What the configuration says about hosts.
#[derive(Debug, Clone, Default)]
pub(super) struct Reach {
    /// Hosts of the user's own: any address of theirs is in reach.
    pub(super) own: Vec<String>,
    /// Whether this machine and private networks are in reach.
    pub(super) private: bool,
    /// If there are any, no other host is in reach.
    pub(super) allowed: Vec<String>,
    /// Hosts that are out of reach.
    pub(super) blocked: Vec<String>,
}

impl Reach {
    /// The address that a text means, if it may be asked for. `base` is where it was found.
    pub(super) fn url(&self, text: &str, base: Option<&Url>) -> Result<Url, Refusal> {
        let text = text.trim();
        let no_url = || Refusal::NoUrl(text.chars().take(200).collect());
        let parsed = match base {
            Some(base) => base.join(text),
            None => Url::parse(text),
        };
        let url = parsed.map_err(|_| no_url())?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(Refusal::Scheme(url.scheme().to_owned()));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(Refusal::Credentials);
        }
        let host = host_of(&url).ok_or_else(no_url)?;
        if let (Ok(IpAddr::V4(_)), Some(written)) = (host.parse::<IpAddr>(), written_host(text))
            && written != host
        {
            return Err(Refusal::Disguised(written.to_owned(), host));
        }
        self.host(&host)?;
        Ok(url)
    }

    /// Whether a host may be asked, before its addresses are known.
    fn host(&self, host: &str) -> Result<(), Refusal> {
        if self.blocked.iter().any(|one| covers(one, host)) {
            return Err(Refusal::Blocked(host.to_owned()));
        }
        if !self.allowed.is_empty() && !self.allowed.iter().any(|one| covers(one, host)) {
            return Err(Refusal::NotAllowed(host.to_owned()));
        }
        match host.parse::<IpAddr>() {
            Ok(address) => self.address(host, address),
            Err(_) if is_localhost(host) && !self.private && !self.is_own(host) => {
                Err(Refusal::Inside { host: host.to_owned(), what: "this machine" })
            }
            Err(_) => Ok(()),
        }
    }

    /// Whether an address of a host may be connected to.
    pub(super) fn address(&self, host: &str, address: IpAddr) -> Result<(), Refusal> {
        let what = match place(address) {
            Place::Public => return Ok(()),
            Place::Private(_) if self.private => return Ok(()),
            Place::Private(what) | Place::Special(what) => what,
        };
        match self.is_own(host) {
            true => Ok(()),
            false => Err(Refusal::Inside { host: host.to_owned(), what }),
        }
    }

    fn is_own(&self, host: &str) -> bool {
        self.own.iter().any(|one| match one.strip_prefix("*.") {
            Some(_) => covers(one, host),
            None => bare(one) == host,
        })
    }
}

/// The host of an address as permissions and settings name it: lower case, no brackets, no dot at the end.
pub(super) fn host_of(url: &Url) -> Option<String> {
    url.host_str().map(bare).filter(|host| !host.is_empty())
}

fn bare(host: &str) -> String {
    host.trim_matches(['[', ']']).trim_end_matches('.').to_ascii_lowercase()
}

/// True if `pattern` is the host, a domain above it, or `*.` and a domain above it.
fn covers(pattern: &str, host: &str) -> bool {
    let (above_only, domain) = match pattern.strip_prefix("*.") {
        Some(domain) => (true, bare(domain)),
        None => (false, bare(pattern)),
    };
    let below = host.strip_suffix(domain.as_str()).is_some_and(|front| front.ends_with('.'));
    below || (!above_only && host == domain)
}

fn is_localhost(host: &str) -> bool {
    host == "localhost" || host.ends_with(".localhost")
}

/// The host as the text writes it, where the text writes one.
fn written_host(text: &str) -> Option<&str> {
    let rest = match text.split_once("://") {
        Some((scheme, rest)) if !scheme.contains(['/', '?', '#']) => rest,
        _ => text.strip_prefix("//")?,
    };
    let authority = rest.split(['/', '?', '#', '\\']).next()?;
    let host = authority.rsplit('@').next()?;
    Some(host.split_once(':').map_or(host, |(host, _)| host))
}

/// Where an address is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Public,
    /// This machine, or a network of somebody's own.
    Private(&'static str),
    /// What no page is at.
    Special(&'static str),
}

fn place(address: IpAddr) -> Place {
    match address {
        IpAddr::V4(address) => place_v4(address),
        IpAddr::V6(address) => place_v6(address),
    }
}

fn place_v4(address: Ipv4Addr) -> Place {
    use Place::{Private, Public, Special};
    match address.octets() {
        [127, ..] => Private("this machine"),
        [10, ..] | [192, 168, ..] => Private("a private address"),
        [172, second, ..] if (16..32).contains(&second) => Private("a private address"),
        [100, second, ..] if (64..128).contains(&second) => Private("an address of a carrier's own network"),
        [0, ..] => Special("an unspecified address"),
        [169, 254, ..] => Special("a link-local address"),
        [192, 0, 0, _] => Special("an address of a protocol's own"),
        [192, 88, 99, _] => Special("a 6to4 relay"),
        [192, 0, 2, _] | [198, 51, 100, _] | [203, 0, 113, _] => Special("an address of documentation"),
        [198, 18 | 19, ..] => Special("an address of benchmarks"),
        [224..=239, ..] => Special("a multicast address"),
        [240..=255, ..] => Special("a reserved address"),
        _ => Public,
    }
}

fn place_v6(address: Ipv6Addr) -> Place {
    use Place::{Private, Public, Special};
    let parts = address.segments();
    let embedded = |high: u16, low: u16| {
        let [a, b] = high.to_be_bytes();
        let [c, d] = low.to_be_bytes();
        place_v4(Ipv4Addr::new(a, b, c, d))
    };
    match parts {
        [0, 0, 0, 0, 0, 0, 0, 0] => Special("an unspecified address"),
        [0, 0, 0, 0, 0, 0, 0, 1] => Private("this machine"),
        [0, 0, 0, 0, 0, 0xffff, high, low] => embedded(high, low),
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0x2002, high, low, ..] => match embedded(high, low) {
            Public => Public,
            Private(what) | Special(what) => Special(what),
        },
        [0xfc00..=0xfdff, ..] => Private("a unique-local address"),
        [0xfe80..=0xfebf, ..] => Special("a link-local address"),
        [0xff00..=0xffff, ..] => Special("a multicast address"),
        [0x2001, 0xdb8, ..] | [0x3fff, 0..=0xfff, ..] => Special("an address of documentation"),
        [0x2001, 0..=0x1ff, ..] => Special("an address of a protocol's own"),
        [0x2000..=0x3fff, ..] => Public,
        _ => Special("a reserved address"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> Option<String> {
        Reach::default().url(text, None).err().map(|refusal| refusal.to_string())
    }

    #[test]
    fn what_is_public_is_in_reach() {
        for text in [
            "https://example.org/a?b#c",
            "http://EXAMPLE.org:8080",
            "https://93.184.216.34/",
            "http://172.15.0.1/",
            "http://172.32.0.1/",
            "http://100.63.0.1/",
            "https://[2606:2800:220:1:248:1893:25c8:1946]/",
            "http://[64:ff9b::5db8:d822]/",
            "https://exämple.org/",
        ] {
            assert_eq!(refused(text), None, "{text}");
        }
    }

    #[test]
    fn what_is_not_public_is_refused_in_every_form() {
        for (text, part) in [
            ("http://localhost/", "this machine"),
            ("http://LOCALHOST.:80/", "this machine"),
            ("http://a.localhost/", "this machine"),
            ("http://127.0.0.1/", "this machine"),
            ("http://127.9.9.9:1/", "this machine"),
            ("http://[::1]/", "this machine"),
            ("http://[::ffff:127.0.0.1]/", "this machine"),
            ("http://[::ffff:a9fe:a9fe]/", "link-local"),
            ("http://[64:ff9b::7f00:1]/", "this machine"),
            ("http://[64:ff9b::a00:1]/", "private"),
            ("http://[2002:7f00:1::]/", "this machine"),
            ("http://[2002:c0a8:101::1]/", "private"),
            ("http://[::7f00:1]/", "reserved"),
            ("http://[64:ff9b:1::1]/", "reserved"),
            ("http://0.0.0.0/", "unspecified"),
            ("http://[::]/", "unspecified"),
            ("http://10.1.2.3/", "private"),
            ("http://172.31.255.255/", "private"),
            ("http://192.168.1.1/", "private"),
            ("http://169.254.169.254/latest", "link-local"),
            ("http://100.64.0.1/", "carrier"),
            ("http://[fd00::1]/", "unique-local"),
            ("http://[fe80::1]/", "link-local"),
            ("http://[fec0::1]/", "reserved"),
            ("http://[ff02::1]/", "multicast"),
            ("http://224.0.0.1/", "multicast"),
            ("http://255.255.255.255/", "reserved"),
            ("http://192.0.2.1/", "documentation"),
            ("http://[2001:db8::1]/", "documentation"),
            ("http://[3fff::1]/", "documentation"),
            ("http://[2001::1]/", "protocol"),
            ("http://192.0.0.8/", "protocol"),
            ("http://198.18.0.1/", "benchmarks"),
            ("http://2130706433/", "unusual"),
            ("http://0x7f.1/", "unusual"),
            ("http://0177.0.0.1/", "unusual"),
            ("http://0x5db8d822/", "unusual"),
            ("http://127.1/", "unusual"),
            ("http://%31%32%37.0.0.1/", "unusual"),
            ("http://１２７.0.0.1/", "unusual"),
            ("http://u@example.org/", "user name"),
            ("http://u:p@example.org/", "password"),
            ("file:///etc/passwd", "http and https"),
            ("ftp://example.org/", "http and https"),
            ("javascript:alert(1)", "http and https"),
            ("example.org", "no address"),
            ("https://", "no address"),
            ("", "no address"),
        ] {
            let said = refused(text).unwrap_or_default();
            assert!(said.contains(part), "{text}: {said}");
        }
    }

    #[test]
    fn a_redirection_is_judged_like_an_address() {
        let base = Url::parse("https://example.org/a/b").unwrap();
        let go = |to: &str| Reach::default().url(to, Some(&base)).map(|url| url.to_string());
        assert_eq!(go("../c").unwrap(), "https://example.org/c");
        assert_eq!(go("//example.com/x").unwrap(), "https://example.com/x");
        assert_eq!(go("?next=http://0x7f.1/").unwrap(), "https://example.org/a/b?next=http://0x7f.1/");
        for to in
            ["//127.0.0.1/", "http://0x7f.1/", "//0x7f.1/", "http://[::1]/", "file:///x", "//u@example.com/"]
        {
            assert!(go(to).is_err(), "{to}");
        }
    }

    #[test]
    fn own_hosts_are_in_reach_and_nothing_beside_them() {
        let own = |hosts: &[&str]| Reach {
            own: hosts.iter().map(|host| (*host).to_owned()).collect(),
            ..Reach::default()
        };
        let reach = own(&["127.0.0.1", "wiki.corp", "*.lab.corp", "::1"]);
        for text in ["http://127.0.0.1:8080/", "http://[::1]/", "http://wiki.corp/", "http://a.lab.corp/"] {
            assert!(reach.url(text, None).is_ok(), "{text}");
        }
        let inside = IpAddr::from([10, 0, 0, 1]);
        assert!(reach.address("wiki.corp", inside).is_ok());
        assert!(reach.address("a.lab.corp", inside).is_ok());
        for host in ["lab.corp", "evil-wiki.corp", "x.wiki.corp", "wiki.corp.evil.org"] {
            assert!(reach.address(host, inside).is_err(), "{host}");
        }
        assert!(reach.url("http://localhost/", None).is_err());
        assert!(reach.url("http://127.0.0.2/", None).is_err());
        let private = Reach { private: true, ..Reach::default() };
        assert!(private.url("http://localhost:3000/", None).is_ok());
        assert!(private.address("x", inside).is_ok());
        assert!(private.address("x", IpAddr::from([169, 254, 169, 254])).is_err());
        assert!(private.url("http://[64:ff9b::a00:1]/", None).is_err());
    }

    #[test]
    fn lists_of_domains_narrow() {
        let list = |hosts: &[&str]| hosts.iter().map(|host| (*host).to_owned()).collect::<Vec<_>>();
        let reach = Reach {
            allowed: list(&["example.org"]),
            blocked: list(&["bad.example.org"]),
            ..Reach::default()
        };
        assert!(reach.url("https://example.org/", None).is_ok());
        assert!(reach.url("https://www.example.org/", None).is_ok());
        for text in [
            "https://example.com/",
            "https://notexample.org/",
            "https://bad.example.org/",
            "https://x.bad.example.org",
        ] {
            assert!(reach.url(text, None).is_err(), "{text}");
        }
    }
}

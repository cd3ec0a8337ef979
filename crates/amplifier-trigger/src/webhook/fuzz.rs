//! Calls of webhooks, attacked with damaged headers and bodies: what is not signed is never accepted.

use amplifier_core::{Payload, Timestamp};
use amplifier_fuzz::{Script, fuzz};

use super::scheme::{Headers, TOLERANCE};
use super::{Scheme, Secret, hooks};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
/// Seconds since 1970.
const NOW: i64 = 1_800_000_000;
const BODIES: &[&str] =
    &[r#"{"type":"push","n":1}"#, "{}", "[1,2,{\"type\":null}]", "1800000000.5", "", "\u{feff}{\"type\":7}"];
const PARTS: &[&str] = &["{", "}", "\"type\":", "\"x\"", ",", ".", "\\u0000", "é", "1", " "];
const NAMES: &[&str] = &[
    "x-hub-signature-256",
    "X-Hub-Signature",
    "webhook-id",
    "webhook-timestamp",
    "webhook-signature",
    "svix-id",
    "svix-timestamp",
    "svix-signature",
    "x-gitlab-token",
    "authorization",
    "x-github-event",
    "x-github-delivery",
    "idempotency-key",
    "ce-type",
    "",
];
const VALUES: &[&str] = &[
    "sha256=",
    "v1,",
    "v1a,",
    "Bearer ",
    "1800000000",
    "-1",
    "9223372036854775807",
    " ",
    ".",
    "=",
    "push",
    "\u{7f}",
    "é",
    "00",
];

type Call = (Vec<(String, Vec<u8>)>, Vec<u8>);

/// A call that was signed with the secret.
fn signed(scheme: Scheme, secret: &Secret, body: &[u8], at: i64) -> Call {
    let one = |name: &str, value: String| (name.to_owned(), value.into_bytes());
    let headers = match scheme {
        Scheme::Github => {
            let hex: String = hmac(secret, body).iter().map(|byte| format!("{byte:02x}")).collect();
            vec![
                one("X-Hub-Signature-256", format!("sha256={hex}")),
                one("X-GitHub-Event", "push".to_owned()),
            ]
        }
        Scheme::Standard => vec![
            one("webhook-id", "msg_1".to_owned()),
            one("webhook-timestamp", at.to_string()),
            one("webhook-signature", secret.sign("msg_1", at, body)),
        ],
        Scheme::Gitlab => vec![one("X-Gitlab-Token", SECRET.to_owned())],
        Scheme::Bearer => vec![one("Authorization", format!("Bearer {SECRET}"))],
    };
    (headers, body.to_vec())
}

fn hmac(secret: &Secret, body: &[u8]) -> Vec<u8> {
    use ::hmac::{Hmac, KeyInit, Mac};
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(secret.bytes()).unwrap();
    mac.update(body);
    mac.finalize().into_bytes().to_vec()
}

/// What of a call its signature stands for, as the specification of the scheme has it: `None`, if that is not all there.
fn meaning(scheme: Scheme, (headers, body): &Call) -> Option<Vec<u8>> {
    let header = |name: &str| {
        let found = headers.iter().find(|(known, value)| {
            known.eq_ignore_ascii_case(name) && value.len() <= 4096 && std::str::from_utf8(value).is_ok()
        })?;
        Some(std::str::from_utf8(&found.1).ok()?.trim().to_owned())
    };
    match scheme {
        Scheme::Github => Some(body.clone()),
        Scheme::Standard => {
            let old = header("webhook-id").is_none() && header("svix-id").is_some();
            let family = if old { "svix" } else { "webhook" };
            let (id, time) = (header(&format!("{family}-id"))?, header(&format!("{family}-timestamp"))?);
            Some([format!("{id}.{time}.").as_bytes(), body].concat())
        }
        // The secret itself is sent: it stands for whatever comes with it.
        Scheme::Gitlab => (header("x-gitlab-token")? == SECRET).then(Vec::new),
        Scheme::Bearer => {
            let value = header("authorization")?;
            let (word, token) = value.split_once(' ')?;
            (word.eq_ignore_ascii_case("bearer") && token.trim() == SECRET).then(Vec::new)
        }
    }
}

fn damage(script: &mut Script<'_>, (headers, body): &mut Call) {
    for _ in 0..script.below(4) {
        let at = script.below(headers.len() + 1);
        match (script.byte() % 8, headers.get_mut(at)) {
            (0 | 1, Some((_, value))) => script.damage(value, VALUES, VALUES),
            (2, Some((name, _))) => *name = script.one_of(NAMES).to_owned(),
            (3, Some(_)) => drop(headers.remove(at)),
            (4, Some(header)) => {
                let again = header.clone();
                headers.push(again);
            }
            (5, _) => headers.insert(at, (script.one_of(NAMES).to_owned(), script.bytes(VALUES, VALUES))),
            _ => script.damage(body, BODIES, PARTS),
        }
    }
}

fn is_verified(scheme: Scheme, secret: &Secret, (headers, body): &Call, now: Timestamp) -> bool {
    let headers = Headers::of(headers.iter().map(|(name, value)| (name.as_str(), value.as_slice())));
    if let Ok(data) = Payload::from_json(body.clone()) {
        // Names come from the sender: whatever they are, they are bounded.
        let names = [scheme.event_name(&headers, &data), scheme.delivery(&headers)];
        assert!(names.iter().flatten().all(|name| !name.is_empty() && name.len() <= 200));
    }
    scheme.verify(secret, &headers, body, now)
}

#[test]
fn webhook_calls() {
    fuzz!(|script| {
        let (_, scheme) = Scheme::ALL[script.below(4)];
        let secret = Secret::of(scheme, "SECRET", Some(SECRET)).unwrap();
        let body = script.bytes(BODIES, PARTS);
        let at = NOW + script.number() % 400;
        let now = Timestamp::from_micros(NOW * 1_000_000);
        let near = scheme != Scheme::Standard || at.abs_diff(NOW) <= TOLERANCE.as_secs();
        let original = signed(scheme, &secret, &body, at);
        assert_eq!(is_verified(scheme, &secret, &original, now), near, "as it was sent: {scheme:?} at {at}");

        let mut call = original.clone();
        damage(script, &mut call);
        if is_verified(scheme, &secret, &call, now) {
            let (signed, called) = (meaning(scheme, &original), meaning(scheme, &call));
            assert!(called.is_some() && signed == called && near, "{scheme:?}: {call:?} was never signed");
        }
        // Another secret opens nothing.
        let other = Secret::of(scheme, "SECRET", Some("d2Vha3dlYWt3ZWFrd2Vhaw==")).unwrap();
        assert!(!is_verified(scheme, &other, &call, now), "{scheme:?}: {call:?} under another secret");
        let _ = hooks::name(&String::from_utf8_lossy(&call.1));
    });
}

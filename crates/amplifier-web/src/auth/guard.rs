//! What a request must show before anything answers it.
//!
//! Guarantees: a request is let in by a token or by a session, never by both; what changes something needs
//! the role `write`, and from a browser the token of its forms and this very origin; who guesses is slowed
//! down; a body is bounded in size and time before anybody looks at it.
//! Never here: what a route does.

use std::sync::Arc;

use amplifier_app::listen::{Peer, read_body};
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, COOKIE, HOST, ORIGIN};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;

use super::login::Browser;
use super::{Identity, Role, cookie_name, same};
use crate::api::Fault;
use crate::form::Form;
use crate::state::App;

/// Largest body of a request, in bytes.
pub(crate) const MAX_BODY: usize = 256 * 1024;

/// Who asks: an extension of each request that was let in.
#[derive(Debug, Clone)]
pub(crate) struct Who {
    pub(crate) identity: Identity,
    /// What the forms of a browser must carry; `None` for a token.
    pub(crate) csrf: Option<String>,
    /// What was shown: looked at again as long as a stream lasts.
    pub(crate) shown: Shown,
}

/// What a request has shown.
#[derive(Clone)]
pub(crate) enum Shown {
    Token(String),
    Session(String),
}

impl std::fmt::Debug for Shown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Token(_) => "Token(…)",
            Self::Session(_) => "Session(…)",
        })
    }
}

/// The body of a request that was let in: an extension of it.
#[derive(Debug, Clone)]
pub(crate) struct Given(pub(crate) Bytes);

/// Lets a request in, or answers it.
pub(crate) async fn guard(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let page = is_page(request.uri());
    let mut response = match Box::pin(let_in(&app, request)).await {
        Ok(request) => next.run(request).await,
        Err(fault) if page => fault.into_page(),
        Err(fault) => fault.into_response(),
    };
    app.count(response.status());
    harden(response.headers_mut());
    response
}

fn is_page(uri: &Uri) -> bool {
    !uri.path().starts_with("/api/") && uri.path() != "/metrics"
}

async fn let_in(app: &App, request: Request) -> Result<Request, Fault> {
    let who = match who(app, request.headers()).await? {
        Some(who) => who,
        None => return Err(refused(app, &request)),
    };
    let changes = !matches!(*request.method(), Method::GET | Method::HEAD);
    if changes && who.identity.role < Role::Write {
        return Err(Fault::new(StatusCode::FORBIDDEN, "read_only", "this token may only read"));
    }
    let (mut parts, body) = request.into_parts();
    let mut given = Bytes::new();
    if changes {
        let whole = Request::from_parts(parts.clone(), body);
        given = read_body(whole, MAX_BODY, app.clock().as_ref()).await.map_err(Fault::of_body)?;
        if let Some(csrf) = &who.csrf {
            check_origin(&parts.headers)?;
            check_csrf(&parts.headers, &given, csrf)?;
        }
    }
    parts.extensions.insert(who);
    parts.extensions.insert(Given(given));
    Ok(Request::from_parts(parts, Body::empty()))
}

/// Who asks, as far as the request shows it. A token that is none is not made good by a cookie.
async fn who(app: &App, headers: &HeaderMap) -> Result<Option<Who>, Fault> {
    if let Some(shown) = headers.get(AUTHORIZATION) {
        let token = shown.to_str().ok().and_then(|shown| {
            let (scheme, token) = shown.split_once(' ')?;
            scheme.eq_ignore_ascii_case("bearer").then(|| token.trim().to_owned())
        });
        let Some(token) = token else { return Ok(None) };
        let identity = app.tokens().check(&token).await?;
        return Ok(identity.map(|identity| Who { identity, csrf: None, shown: Shown::Token(token) }));
    }
    let Some(secret) = session_of(app, headers) else { return Ok(None) };
    let browser: Option<Browser> = app.logins().session(&secret).await?;
    Ok(browser.map(|Browser { identity, csrf }| Who {
        identity,
        csrf: Some(csrf),
        shown: Shown::Session(secret),
    }))
}

/// The secret of the session that a request's cookie names.
pub(crate) fn session_of(app: &App, headers: &HeaderMap) -> Option<String> {
    let name = cookie_name(app.host());
    let pairs = headers.get_all(COOKIE).into_iter().filter_map(|line| line.to_str().ok());
    let mut pairs = pairs.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(known, _)| *known == name).map(|(_, secret)| secret.to_owned())
}

/// Whoever shows something wrong is told later and later.
fn refused(app: &App, request: &Request) -> Fault {
    let headers = request.headers();
    let guessed = headers.contains_key(AUTHORIZATION) || session_of(app, headers).is_some();
    if let (true, Some(Peer(peer))) = (guessed, request.extensions().get::<Peer>())
        && let Err(wait) = app.guesses().count(peer.ip(), "guess")
    {
        return Fault::too_often(wait);
    }
    Fault::new(
        StatusCode::UNAUTHORIZED,
        "unauthorized",
        "show a token (`Authorization: Bearer`), or run `foreman open` for a link to log in",
    )
}

/// A page of another origin may be of the same site, as all ports of one machine are.
fn check_origin(headers: &HeaderMap) -> Result<(), Fault> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let site = text("sec-fetch-site").is_none_or(|site| matches!(site, "same-origin" | "none"));
    let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let own = |origin: &HeaderValue| {
        let origin = origin.to_str().unwrap_or_default();
        origin.split_once("://").is_some_and(|(_, named)| named.eq_ignore_ascii_case(host))
    };
    let origin = headers.get(ORIGIN).is_none_or(own);
    match site && origin {
        true => Ok(()),
        false => {
            Err(Fault::new(StatusCode::FORBIDDEN, "cross_site", "this came from a page of another origin"))
        }
    }
}

fn check_csrf(headers: &HeaderMap, body: &Bytes, csrf: &str) -> Result<(), Fault> {
    let header = headers.get("x-csrf-token").and_then(|value| value.to_str().ok()).map(str::to_owned);
    let is_form = headers.get(CONTENT_TYPE).is_some_and(|kind| {
        kind.to_str().is_ok_and(|kind| kind.starts_with("application/x-www-form-urlencoded"))
    });
    let shown = header.or_else(|| is_form.then(|| Form::read(body).take("csrf")).flatten());
    match shown.is_some_and(|shown| same(&shown, csrf)) {
        true => Ok(()),
        false => Err(Fault::new(
            StatusCode::FORBIDDEN,
            "csrf",
            "this form is not of this session any more; load the page again",
        )),
    }
}

/// What a browser may do with any answer: nothing of others, no script in a page, no frame around it.
fn harden(headers: &mut HeaderMap) {
    const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
                          connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";
    for (name, value) in [
        ("content-security-policy", POLICY),
        ("referrer-policy", "same-origin"),
        ("x-frame-options", "DENY"),
        ("cross-origin-opener-policy", "same-origin"),
        ("cross-origin-resource-policy", "same-origin"),
    ] {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
}

/// True as long as what was shown is good.
pub(crate) async fn still_good(app: &App, shown: &Shown) -> bool {
    let known = match shown {
        Shown::Token(token) => app.tokens().check(token).await.map(|known| known.is_some()),
        Shown::Session(secret) => app.logins().session(secret).await.map(|known| known.is_some()),
    };
    // A store that cannot be read says nothing against anybody.
    known.unwrap_or(true)
}

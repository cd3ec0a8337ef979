//! The page that takes a login link.
//!
//! Guarantees: looking at a link ahead of time (`HEAD`, a prefetch) does not use it up; its code is told to
//! nobody else.

use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::{RawQuery, Request, State};
use axum::http::header::{CONTENT_TYPE, SET_COOKIE};
use axum::http::request::Parts;
use axum::http::{HeaderValue, Method, StatusCode};
use axum::response::Response;

use super::Fault;
use crate::auth::{SESSION_TIME, Shown, Who, cookie_name};
use crate::form::Form;
use crate::state::App;

/// A page of this origin leads on: what came from elsewhere would not send the cookie along.
fn leads_on(to: &str) -> String {
    format!(
        "<!doctype html><html lang=en><meta charset=utf-8><title>Amplifier</title>\
         <meta http-equiv=refresh content=\"0;url={to}\"><p><a href=\"{to}\">Open the dashboard</a></p>"
    )
}

/// A path of this origin and nothing else.
fn is_own(to: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/-_.%?=&".contains(&byte);
    to.starts_with('/') && !to.starts_with("//") && to.len() <= 500 && to.bytes().all(plain)
}

/// What is left to say.
const OUT: &str = "<!doctype html><html lang=en><meta charset=utf-8><title>Amplifier</title>\
    <p>This browser is logged out. Run <code>foreman open</code> for a new link.</p>";

pub(crate) async fn login(
    State(app): State<Arc<App>>,
    RawQuery(query): RawQuery,
    request: Request,
) -> Response {
    let mut response = match follow(&app, query, &request.into_parts().0).await {
        Ok(response) => response,
        Err(fault) => fault.into_page(),
    };
    app.count(response.status());
    let headers = response.headers_mut();
    headers.insert("referrer-policy", HeaderValue::from_static("no-referrer"));
    headers.insert("x-frame-options", HeaderValue::from_static("DENY"));
    headers.insert("content-security-policy", HeaderValue::from_static("default-src 'none'"));
    response
}

async fn follow(app: &App, query: Option<String>, request: &Parts) -> Result<Response, Fault> {
    let ahead = ["sec-purpose", "purpose", "x-moz"].iter().any(|name| request.headers.contains_key(*name));
    if request.method != Method::GET || ahead {
        return Err(Fault::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "method",
            "a login link is opened, not looked at",
        ));
    }
    if let Some(amplifier_app::listen::Peer(peer)) = request.extensions.get()
        && let Err(wait) = app.guesses().count(peer.ip(), "login")
    {
        return Err(Fault::too_often(wait));
    }
    let mut form = Form::read(query.unwrap_or_default());
    let code = form.take("code").unwrap_or_default();
    let to = form.take("to").filter(|to| is_own(to)).unwrap_or_else(|| "/".to_owned());
    let Some(secret) = app.logins().redeem(&code).await? else {
        return Err(Fault::new(
            StatusCode::UNAUTHORIZED,
            "login",
            "this link was used, is too old or is none; run `foreman open` for a new one",
        ));
    };
    let mut response = Response::new(Body::from(leads_on(&to.replace('&', "&amp;"))));
    let cookie = format!(
        "{}={secret}; Path=/; Max-Age={}; HttpOnly; SameSite=Strict",
        cookie_name(app.host()),
        SESSION_TIME.as_secs()
    );
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    if let Ok(cookie) = HeaderValue::from_str(&cookie) {
        headers.insert(SET_COOKIE, cookie);
    }
    Ok(response)
}

/// Ends the session that asks.
pub(crate) async fn logout(
    State(app): State<Arc<App>>,
    Extension(who): Extension<Who>,
) -> Result<Response, Fault> {
    if let Shown::Session(secret) = &who.shown {
        app.logins().end(secret).await?;
    }
    let mut response = Response::new(Body::from(OUT));
    let gone = format!("{}=; Path=/; Max-Age=0; HttpOnly; SameSite=Strict", cookie_name(app.host()));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    if let Ok(gone) = HeaderValue::from_str(&gone) {
        headers.insert(SET_COOKIE, gone);
    }
    Ok(response)
}

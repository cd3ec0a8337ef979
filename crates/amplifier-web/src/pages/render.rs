//! Templates, and the frame around each page.

use std::sync::Arc;

use amplifier_core::Timestamp;
use axum::body::Body;
use axum::http::HeaderValue;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use minijinja::value::Value;
use minijinja::{AutoEscape, Environment, UndefinedBehavior, context};

use crate::api::Fault;
use crate::auth::{Role, Who};
use crate::state::App;

const TEMPLATES: [(&str, &str); 11] = [
    ("frame.html", include_str!("templates/frame.html")),
    ("parts.html", include_str!("templates/parts.html")),
    ("overview.html", include_str!("templates/overview.html")),
    ("issues.html", include_str!("templates/issues.html")),
    ("issue.html", include_str!("templates/issue.html")),
    ("pools.html", include_str!("templates/pools.html")),
    ("sessions.html", include_str!("templates/sessions.html")),
    ("session.html", include_str!("templates/session.html")),
    ("runs.html", include_str!("templates/runs.html")),
    ("run.html", include_str!("templates/run.html")),
    ("events.html", include_str!("templates/events.html")),
];
const STYLE: &str = include_str!("assets/style.css");
const SCRIPT: &str = include_str!("assets/live.js");

/// The templates, read once.
#[derive(Debug)]
pub(crate) struct Templates(Environment<'static>);

impl Templates {
    #[expect(clippy::expect_used, reason = "they are part of the program, and a test renders each")]
    pub(crate) fn new() -> Self {
        let mut all = Environment::new();
        all.set_undefined_behavior(UndefinedBehavior::Strict);
        all.set_auto_escape_callback(|_| AutoEscape::Html);
        all.add_filter("ago", ago);
        all.add_filter("clock", clock);
        all.add_filter("money", money);
        all.add_filter("short", short);
        all.add_filter("urlencode", crate::form::segment);
        all.add_filter("words", |text: &str| text.replace('_', " "));
        for (name, text) in TEMPLATES {
            all.add_template(name, text).expect("a template");
        }
        Self(all)
    }
}

fn micros(text: &str) -> Option<i64> {
    text.parse::<Timestamp>().ok().map(Timestamp::as_micros)
}

/// `3 min ago`, `in 2 h`; the time itself where it is none.
fn ago(time: &str, now: &str) -> String {
    let (Some(time), Some(now)) = (micros(time), micros(now)) else { return time.to_owned() };
    let seconds = (now - time) / 1_000_000;
    let span = match seconds.unsigned_abs() {
        0..5 => return "now".to_owned(),
        some @ 5..60 => format!("{some} s"),
        some @ 60..3_600 => format!("{} min", some / 60),
        some @ 3_600..86_400 => format!("{} h", some / 3_600),
        some => format!("{} d", some / 86_400),
    };
    if seconds < 0 { format!("in {span}") } else { format!("{span} ago") }
}

/// The time of the day, in UTC.
fn clock(time: &str) -> String {
    time.get(11..19).unwrap_or(time).to_owned()
}

fn money(usd: f64) -> String {
    if usd < 1.0 { format!("${usd:.4}") } else { format!("${usd:.2}") }
}

/// The beginning of a long id.
fn short(text: &str) -> String {
    match text.char_indices().nth(18) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}

/// What a template can look at.
pub(super) fn seen(what: &impl serde::Serialize) -> Value {
    Value::from(minijinja::value::Serde(what))
}

/// A page of a template, with what it shows.
pub(super) fn page(
    app: &Arc<App>,
    who: &Who,
    template: &str,
    title: &str,
    shows: Value,
) -> Result<Response, Fault> {
    let name = app.host().project().file_name().map(|name| name.to_string_lossy().into_owned());
    let frame = context! {
        title => title,
        project => name.unwrap_or_else(|| "project".to_owned()),
        csrf => who.csrf.clone().unwrap_or_default(),
        actor => who.identity.actor.clone(),
        may_write => who.identity.role >= Role::Write,
        now => app.clock().now().to_string(),
        ..shows
    };
    let rendered = app.templates().0.get_template(template).and_then(|template| template.render(frame));
    let text = rendered.map_err(|error| {
        tracing::error!(template, error = amplifier_core::causes::chain(&error), "a page cannot be made");
        Fault::new(
            axum::http::StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            amplifier_core::causes::chain(&error),
        )
    })?;
    Ok(typed(text, "text/html; charset=utf-8"))
}

fn typed(text: impl Into<Body>, kind: &'static str) -> Response {
    let mut response = Response::new(text.into());
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

pub(super) async fn style() -> Response {
    typed(STYLE, "text/css; charset=utf-8")
}

pub(super) async fn script() -> Response {
    typed(SCRIPT, "text/javascript; charset=utf-8")
}

/// A fault of a page is a page.
#[derive(Debug)]
pub(super) struct PageFault(Fault);

impl<T: Into<Fault>> From<T> for PageFault {
    fn from(fault: T) -> Self {
        Self(fault.into())
    }
}

impl IntoResponse for PageFault {
    fn into_response(self) -> Response {
        self.0.into_page()
    }
}

/// What comes of a page's handler.
pub(super) type Page = Result<Response, PageFault>;

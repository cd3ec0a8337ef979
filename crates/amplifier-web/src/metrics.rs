//! `/metrics`: numbers in the text format of Prometheus.
//!
//! Guarantees: a name of ours in a label is escaped; a number that is not known is left out.

use std::fmt::Write;
use std::sync::Arc;

use amplifier_issue::IssueStatus;
use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderValue;
use axum::http::header::CONTENT_TYPE;
use axum::response::Response;

use crate::api::Fault;
use crate::state::App;
use crate::view::{Background, usd};

/// The text that grows.
#[derive(Default)]
struct Text(String);

impl Text {
    fn about(&mut self, name: &str, kind: &str, help: &str) {
        // A text takes what is written to it, here and below.
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn value(&mut self, name: &str, labels: &[(&str, &str)], value: impl std::fmt::Display) {
        self.0.push_str(name);
        for (at, (label, text)) in labels.iter().enumerate() {
            let text = text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            let _ = write!(self.0, "{}{label}=\"{text}\"", if at == 0 { '{' } else { ',' });
        }
        let _ = writeln!(self.0, "{} {value}", if labels.is_empty() { "" } else { "}" });
    }
}

pub(crate) async fn show(State(app): State<Arc<App>>) -> Result<Response, Fault> {
    let mut text = Text::default();
    background(&mut text, &Background::all(&app).await?);
    let report = app.report().await?;
    text.about("amplifier_runs_day", "gauge", "runs of the last day by how they stand");
    for (standing, count) in &report.within.standings {
        text.value("amplifier_runs_day", &[("standing", standing.as_str())], count);
    }
    let spent = report.within.spent;
    text.about(
        "amplifier_cost_day_usd",
        "gauge",
        "cost of the last day in US dollars, as far as it is known",
    );
    text.value("amplifier_cost_day_usd", &[], usd(spent.known_micro_usd));
    text.about("amplifier_tokens_day", "gauge", "tokens of the last day");
    text.value("amplifier_tokens_day", &[("direction", "input")], spent.usage.input_tokens);
    text.value("amplifier_tokens_day", &[("direction", "output")], spent.usage.output_tokens);
    let issues = app.issues().counts().await?;
    text.about("amplifier_issues", "gauge", "issues by status");
    for status in IssueStatus::ALL {
        text.value("amplifier_issues", &[("status", status.as_str())], issues.of(status));
    }
    text.about("amplifier_issues_ready", "gauge", "issues that a worker may begin");
    text.value("amplifier_issues_ready", &[], issues.ready);
    text.about("amplifier_sessions_running", "gauge", "sessions that run in this process");
    text.value("amplifier_sessions_running", &[], app.host().sessions().len());
    text.about("amplifier_log_sequence", "counter", "events that were recorded");
    text.value("amplifier_log_sequence", &[], app.host().router().tail().await?.sequence);
    text.about("amplifier_event_readers", "gauge", "readers of events in this process");
    text.value("amplifier_event_readers", &[], app.host().router().subscribers());
    text.about("amplifier_http_answers_total", "counter", "answers by the class of their status");
    for (class, count) in ["1xx", "2xx", "3xx", "4xx", "5xx"].into_iter().zip(app.answers()) {
        text.value("amplifier_http_answers_total", &[("code", class)], count);
    }
    let mut response = Response::new(Body::from(text.0));
    let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    Ok(response)
}

type Number = fn(&Background) -> u64;

fn background(text: &mut Text, all: &[Background]) {
    let numbers: [(&str, &str, &str, Number); 7] = [
        ("amplifier_triggered_total", "counter", "firings", |one| one.triggered),
        ("amplifier_coalesced_total", "counter", "firings that another one stands for", |one| one.coalesced),
        ("amplifier_skipped_total", "counter", "firings that a policy left out", |one| one.skipped),
        ("amplifier_rejected_total", "counter", "firings that could not become a run", |one| one.rejected),
        ("amplifier_queued", "gauge", "runs that wait", |one| one.queued),
        ("amplifier_active", "gauge", "sessions that run", |one| one.active.len() as u64),
        ("amplifier_pool_size", "gauge", "places", |one| u64::from(one.pool_size)),
    ];
    for (name, kind, help, number) in numbers {
        text.about(name, kind, help);
        for one in all {
            text.value(name, &[("background_session", &one.name)], number(one));
        }
    }
    text.about("amplifier_background_state", "gauge", "1 for the state in which a background session is");
    for one in all {
        let labels = [("background_session", one.name.as_str()), ("state", one.state)];
        text.value("amplifier_background_state", &labels, 1);
    }
}

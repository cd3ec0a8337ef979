//! A project's background sessions, runs, sessions and events over HTTP: JSON API, event stream, metrics, pages.
//!
//! [`Web`] is made of a host and the manager that runs there, and gives the routes for a
//! [`Listener`](amplifier_app::listen::Listener). [`Tokens`] and [`Logins`] say who may call; programs make both.
//!
//! Guarantees: beside `/healthz`, `/hooks/*` and the page that takes a login link, nothing is answered to who
//! has neither token nor session; who may only read changes nothing; a change stores who asked for it.
//! Never here: a second way to do what other crates do, a clock, a port.

#![warn(missing_docs)]

mod api;
mod auth;
mod form;
mod metrics;
mod pages;
mod routes;
mod state;
mod view;
mod web;

pub use api::{MAX_STREAMS, OPENAPI};
pub use auth::{
    AuthError, Identity, LOGIN_TIME, LoginCode, Logins, NewToken, Role, SESSION_TIME, TokenInfo, TokenName,
    Tokens,
};
pub use routes::Route;
pub use web::{Web, WebOptions};

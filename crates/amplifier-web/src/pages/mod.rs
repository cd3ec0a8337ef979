//! The dashboard: pages out of templates, and what their forms do.
//!
//! Guarantees: every text is escaped by its template; a page works without its script; a form is answered by a
//! page that shows what it did. Never here: what a change means: pages do what the API does.

mod act;
mod lists;
mod one;
mod overview;
mod render;
mod timeline;

use crate::routes::Table;

pub(crate) use render::Templates;

pub(crate) fn routes(table: Table) -> Table {
    table
        .get("/", overview::show)
        .get("/issues", lists::issues)
        .get("/issues/{id}", one::issue)
        .get("/pools", lists::pools)
        .get("/sessions", lists::sessions)
        .get("/sessions/{id}", one::session)
        .get("/runs", lists::runs)
        .get("/runs/{id}", one::run)
        .get("/events", lists::events)
        .post("/issues", act::add)
        .post("/issues/{id}/{act}", act::issue)
        .post("/pools/{name}/{act}", act::pool)
        .post("/runs/{id}/{act}", act::run)
        .post("/sessions/{id}/cancel", act::session)
        .post("/all/{act}", act::all)
        .get("/assets/style.css", render::style)
        .get("/assets/live.js", render::script)
}

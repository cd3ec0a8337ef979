//! The JSON API, described by `docs/openapi.json`.
//!
//! Guarantees: an answer is JSON, an error `{"error": {"kind", "message"}}` with a status that says whose fault it
//! is; an id is checked before anything is looked up by it. Never here: who may call.

mod background;
mod events;
mod fault;
pub(crate) mod issues;
mod login;
pub(crate) mod project;
mod reply;
pub(crate) mod runs;
pub(crate) mod sessions;

pub use events::MAX_STREAMS;
pub(crate) use fault::Fault;
pub(crate) use login::{login, logout};
pub(crate) use reply::Reply;

use crate::metrics;
use crate::routes::Table;

/// The description of the API, OpenAPI 3.1 in JSON.
pub const OPENAPI: &str = include_str!("../../../../docs/openapi.json");

/// What comes of most handlers.
pub(crate) type Answer = Result<Reply, Fault>;

pub(crate) fn routes(table: Table) -> Table {
    table
        .get("/api/v1/status", project::status)
        .get("/api/v1/cost", project::cost)
        .post("/api/v1/pause", project::pause)
        .post("/api/v1/resume", project::resume)
        .post("/api/v1/drain", project::drain)
        .get("/api/v1/openapi.json", project::openapi)
        .get("/api/v1/background", background::list)
        .get("/api/v1/background/{name}", background::show)
        .post("/api/v1/background/{name}/pause", background::pause)
        .post("/api/v1/background/{name}/resume", background::resume)
        .post("/api/v1/background/{name}/fire", background::fire)
        .get("/api/v1/triggers", background::triggers)
        .get("/api/v1/runs", runs::list)
        .get("/api/v1/runs/{id}", runs::show)
        .post("/api/v1/runs/{id}/retry", runs::retry)
        .post("/api/v1/runs/{id}/drop", runs::drop)
        .get("/api/v1/sessions", sessions::list)
        .get("/api/v1/sessions/{id}", sessions::show)
        .post("/api/v1/sessions/{id}/cancel", sessions::cancel)
        .get("/api/v1/issues", issues::list)
        .post("/api/v1/issues", issues::add)
        .get("/api/v1/issues/counts", issues::counts)
        .get("/api/v1/issues/{id}", issues::show)
        .patch("/api/v1/issues/{id}", issues::update)
        .post("/api/v1/issues/{id}/comment", issues::comment)
        .post("/api/v1/issues/{id}/answer", issues::answer)
        .post("/api/v1/issues/{id}/retry", issues::retry)
        .post("/api/v1/issues/{id}/cancel", issues::cancel)
        .post("/api/v1/issues/{id}/close", issues::close)
        .post("/api/v1/issues/{id}/reopen", issues::reopen)
        .post("/api/v1/issues/{id}/link", issues::link)
        .post("/api/v1/issues/{id}/unlink", issues::unlink)
        .get("/api/v1/events", events::stream)
        .get("/metrics", metrics::show)
}

/// For what is no route.
pub(crate) async fn unknown() -> Fault {
    Fault::not_found("there is no such route; GET /api/v1/openapi.json describes all of them")
}

//! The routes, each noted as it is added, so that what is served and what is described can be compared.

use std::sync::Arc;

use axum::Router;
use axum::handler::Handler;
use axum::routing::{MethodRouter, get, patch, post};

use crate::state::App;

/// A route.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub struct Route {
    /// Its path; what stands in braces is any text without `/`.
    pub path: &'static str,
    /// Its method, in lower case.
    pub method: &'static str,
}

/// Routes as they are put together.
#[derive(Debug, Default)]
pub(crate) struct Table {
    router: Router<Arc<App>>,
    listed: Vec<Route>,
}

impl Table {
    fn add(mut self, method: &'static str, path: &'static str, route: MethodRouter<Arc<App>>) -> Self {
        self.listed.push(Route { path, method });
        Self { router: self.router.route(path, route), ..self }
    }

    pub(crate) fn get<H: Handler<T, Arc<App>>, T: 'static>(self, path: &'static str, handler: H) -> Self {
        self.add("get", path, get(handler))
    }

    pub(crate) fn post<H: Handler<T, Arc<App>>, T: 'static>(self, path: &'static str, handler: H) -> Self {
        self.add("post", path, post(handler))
    }

    pub(crate) fn patch<H: Handler<T, Arc<App>>, T: 'static>(self, path: &'static str, handler: H) -> Self {
        self.add("patch", path, patch(handler))
    }

    pub(crate) fn into_parts(self) -> (Router<Arc<App>>, Vec<Route>) {
        (self.router, self.listed)
    }
}

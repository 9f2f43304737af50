//! The HTTP routes. A handler turns a request into a [`Question`], waits for the answer, and writes it as JSON.
//!
//! The handlers know nothing: whoever owns the state reads questions from a channel and answers each once. A bound on
//! the channel and a deadline on each wait keep a stuck owner from collecting requests.

mod asking;
mod desk;
mod ordering;
mod question;
mod upkeep;

use std::io;
use std::os::unix::net::UnixListener;

use axum::routing::get;
use axum::{Json, Router};
use tokio::sync::mpsc;
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::page;
use desk::{Desk, Failure};
pub use ordering::SWITCHOVER_TIMEOUT;
pub use question::{Question, ReloadRefused};

/// Serves the API on a listening socket until the future is dropped. Needs a tokio runtime with I/O.
pub async fn serve(listener: UnixListener, questions: mpsc::Sender<Question>) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let listener = tokio::net::UnixListener::from_std(listener)?;
    axum::serve(listener, router(questions)).await
}

fn router(questions: mpsc::Sender<Question>) -> Router {
    served(asking().merge(ordering()), questions)
}

/// The routes that change nothing.
pub(super) fn questions_only(questions: mpsc::Sender<Question>) -> Router {
    served(asking(), questions)
}

fn served(routes: OpenApiRouter<Desk>, questions: mpsc::Sender<Question>) -> Router {
    let routes = Router::from(routes)
        .route("/", get(page::show))
        .route("/v1/openapi.json", get(async || Json(document())))
        .fallback(unknown)
        .method_not_allowed_fallback(wrong_method);
    routes.with_state(Desk { questions })
}

/// What can be asked. A route is made of its handler's own description, so that none is without one.
fn asking() -> OpenApiRouter<Desk> {
    OpenApiRouter::new()
        .routes(routes!(asking::status))
        .routes(routes!(asking::sessions))
        .routes(routes!(asking::explain))
        .routes(routes!(upkeep::look))
        .routes(routes!(asking::health))
        .routes(routes!(asking::metrics))
}

/// What changes something.
fn ordering() -> OpenApiRouter<Desk> {
    OpenApiRouter::new()
        .routes(routes!(ordering::reload))
        .routes(routes!(ordering::switchover))
        .routes(routes!(ordering::instant_failover))
        .routes(routes!(upkeep::drain))
        .routes(routes!(upkeep::disable))
        .routes(routes!(upkeep::enable))
}

#[derive(OpenApi)]
#[openapi(info(
    title = "sqluice",
    description = "What `sqluice status` and its siblings speak: all of it at the UNIX socket of `[admin] socket`, and the \
                   questions (GET) also at the address of `[admin] http`. Fields may be added, none changes its meaning."
))]
struct Described;

/// All routes with their parameters and answers, as OpenAPI has it.
fn document() -> utoipa::openapi::OpenApi {
    OpenApiRouter::with_openapi(Described::openapi()).merge(asking()).merge(ordering()).into_openapi()
}

async fn unknown() -> Failure {
    Failure::Unknown("there is nothing at this path".into())
}

async fn wrong_method() -> Failure {
    Failure::WrongMethod
}

/// Questions waiting for their answer; the next request gets 503.
pub const QUESTIONS_MAX: usize = 64;

#[cfg(test)]
mod tests;

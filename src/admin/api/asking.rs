//! Questions: how things are, and why. They change nothing.

use axum::Json;
use axum::extract::State;
use axum::http::header::{ACCEPT, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::IntoParams;

use super::desk::{Answered, Asked, Desk, Failure, Misnamed, Unanswered};
use super::question::Question;
use crate::admin::metrics::Form;
use crate::admin::shapes::{Explanation, Health, Phase, Problem, SessionStatus, Status};

/// The whole process at one moment.
#[utoipa::path(get, path = "/v1/status",
    responses(
        (status = 200, body = Status),
        Unanswered
    ))]
pub(super) async fn status(State(desk): State<Desk>) -> Answered<Status> {
    desk.ask(Question::Status).await.map(Json)
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct SessionsQuery {
    /// No more than so many; all, if it is left out.
    limit: Option<usize>,
}

/// One row a session, by id.
#[utoipa::path(get, path = "/v1/sessions", params(SessionsQuery),
    responses(
        (status = 200, body = Vec<SessionStatus>),
        Unanswered
    ))]
pub(super) async fn sessions(
    State(desk): State<Desk>,
    Asked(query): Asked<SessionsQuery>,
) -> Answered<Vec<SessionStatus>> {
    let limit = query.limit.unwrap_or(usize::MAX);
    desk.ask(|answer| Question::Sessions { limit, answer }).await.map(Json)
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct ExplainQuery {
    /// The user's name.
    user: String,
    /// The statement; matters for users whose reads are split.
    sql: Option<String>,
}

/// Where this user's statement goes, and why.
#[utoipa::path(get, path = "/v1/explain", params(ExplainQuery),
    responses(
        (status = 200, body = Explanation),
        Misnamed,
        Unanswered
    ))]
pub(super) async fn explain(State(desk): State<Desk>, Asked(query): Asked<ExplainQuery>) -> Answered<Explanation> {
    let ExplainQuery { user, sql } = query;
    let explained = desk.ask(|answer| Question::Explain { user, sql, answer }).await?;
    explained.map(Json).map_err(Failure::Unknown)
}

/// Alive, and in which phase.
#[utoipa::path(get, path = "/v1/health",
    responses(
        (status = 200, body = Health),
        (status = 503, description = "It takes no more clients (a `phase`), or cannot answer (`errors`)", body = Health),
        (status = 504, description = "The process did not answer in time", body = Problem)
    ))]
pub(super) async fn health(State(desk): State<Desk>) -> Result<Response, Failure> {
    let phase = desk.ask(Question::Health).await?;
    let status = match phase {
        Phase::Serving => StatusCode::OK,
        Phase::Draining => StatusCode::SERVICE_UNAVAILABLE,
    };
    Ok(with_status(status, Health { phase }))
}

/// All that is counted, in the text format of OpenMetrics where `Accept` names it, else in that of Prometheus.
#[utoipa::path(get, path = "/metrics",
    responses(
        (status = 200, content(
            (String = "text/plain"),
            (String = "application/openmetrics-text"),
        )),
        Unanswered
    ))]
pub(super) async fn metrics(State(desk): State<Desk>, headers: HeaderMap) -> Result<Response, Failure> {
    let metrics = desk.ask(Question::Metrics).await?;
    let form = Form::accepted(headers.get(ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default());
    Ok(([(CONTENT_TYPE, form.media_type())], metrics.page(form)).into_response())
}

fn with_status(status: StatusCode, shape: impl Serialize) -> Response {
    (status, Json(shape)).into_response()
}

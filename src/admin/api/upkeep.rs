//! A server that is taken out of use and into it again.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use utoipa::IntoParams;

use super::desk::{Answered, Asked, Desk, Failure, Unanswered};
use super::question::Question;
use crate::admin::drain::{self, Upkeep};
use crate::admin::shapes::{DrainStatus, Problem};

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct ServerQuery {
    /// `NAME`, or `CLUSTER/NAME`.
    server: String,
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct DrainQuery {
    /// `NAME`, or `CLUSTER/NAME`.
    server: String,
    /// How long its sessions have to leave, as `90s`; 30 seconds, if it is left out.
    budget: Option<String>,
}

/// Who is at a server, who could leave it, and what holds the others.
#[utoipa::path(get, path = "/v1/drain", params(ServerQuery),
    responses(
        (status = 200, body = DrainStatus),
        (status = 400, description = "The question cannot be read", body = Problem),
        (status = 404, description = "There is no such server", body = Problem),
        Unanswered
    ))]
pub(super) async fn look(State(desk): State<Desk>, Asked(query): Asked<ServerQuery>) -> Answered<DrainStatus> {
    upkeep(&desk, query.server, Upkeep::Look).await
}

/// Takes a server out of use: its sessions go on at others, and end when the time is over.
#[utoipa::path(post, path = "/v1/drain", params(DrainQuery),
    responses(
        (status = 200, body = DrainStatus),
        (status = 400, description = "The order cannot be read", body = Problem),
        (status = 404, description = "There is no such server", body = Problem),
        (status = 422, description = "The budget is no duration, or too long; nothing changed", body = Problem),
        Unanswered
    ))]
pub(super) async fn drain(State(desk): State<Desk>, Asked(query): Asked<DrainQuery>) -> Answered<DrainStatus> {
    let budget = query.budget.as_deref().map_or(Ok(DRAIN_BUDGET), drain::budget).map_err(Failure::Unusable)?;
    upkeep(&desk, query.server, Upkeep::Drain(budget)).await
}

/// Takes a server out of use at once.
#[utoipa::path(post, path = "/v1/disable", params(ServerQuery),
    responses(
        (status = 200, body = DrainStatus),
        (status = 400, description = "The order cannot be read", body = Problem),
        (status = 404, description = "There is no such server", body = Problem),
        Unanswered
    ))]
pub(super) async fn disable(State(desk): State<Desk>, Asked(query): Asked<ServerQuery>) -> Answered<DrainStatus> {
    upkeep(&desk, query.server, Upkeep::Disable).await
}

/// Takes a server into use again.
#[utoipa::path(post, path = "/v1/enable", params(ServerQuery),
    responses(
        (status = 200, body = DrainStatus),
        (status = 400, description = "The order cannot be read", body = Problem),
        (status = 404, description = "There is no such server", body = Problem),
        Unanswered
    ))]
pub(super) async fn enable(State(desk): State<Desk>, Asked(query): Asked<ServerQuery>) -> Answered<DrainStatus> {
    upkeep(&desk, query.server, Upkeep::Enable).await
}

async fn upkeep(desk: &Desk, server: String, what: Upkeep) -> Answered<DrainStatus> {
    let done = desk.ask(|answer| Question::Upkeep { server, what, answer }).await?;
    done.map(Json).map_err(Failure::Unknown)
}

/// The time that the sessions of a drained server have, where nothing else is said.
const DRAIN_BUDGET: Duration = Duration::from_secs(30);

//! Orders for the whole process or a cluster: another configuration, another primary, another balancer.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use utoipa::IntoParams;

use super::desk::{Answered, Asked, Desk, Failure, Unanswered};
use super::question::Question;
use crate::admin::shapes::{ExistingSessions, FailoverMode, InstantFailoverStatus, Problem, Reloaded, Switchover};
use crate::config::{RedirectMode, redirect_target};
use crate::failover::{Mode, NotPromoted};
use crate::topology::Existing;

/// Reads the configuration again.
#[utoipa::path(post, path = "/v1/reload",
    responses(
        (status = 200, body = Reloaded),
        (status = 409, description = "A good file that cannot be applied; nothing changed", body = Problem),
        (status = 422, description = "The file is no configuration; nothing changed", body = Problem),
        Unanswered
    ))]
pub(super) async fn reload(State(desk): State<Desk>) -> Answered<Reloaded> {
    desk.ask(Question::Reload).await?.map(Json).map_err(Failure::NotReloaded)
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct SwitchoverQuery {
    /// `NAME`, or `CLUSTER/NAME`.
    server: String,
    /// Only tell what would be done.
    #[serde(default)]
    rehearse: bool,
}

/// Makes a server the primary of its cluster.
#[utoipa::path(post, path = "/v1/switchover", params(SwitchoverQuery),
    responses(
        (status = 200, body = Switchover),
        (status = 400, description = "The order cannot be read", body = Problem),
        (status = 404, description = "There is no such server", body = Problem),
        (status = 409, description = "It did not become the primary, or not all was done; what was, line by line", body = Problem),
        Unanswered
    ))]
pub(super) async fn switchover(State(desk): State<Desk>, Asked(query): Asked<SwitchoverQuery>) -> Answered<Switchover> {
    let SwitchoverQuery { server, rehearse } = query;
    let mode = if rehearse { Mode::Rehearse } else { Mode::Act };
    let question = |answer| Question::Switchover { server, mode, answer };
    match desk.ask_within(SWITCHOVER_TIMEOUT, question).await? {
        Ok(lines) => Ok(Json(Switchover { lines })),
        Err(NotPromoted::Unknown(reason)) => Err(Failure::Unknown(reason)),
        Err(NotPromoted::Failed(lines)) => Err(Failure::NotPromoted(lines)),
    }
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct InstantFailoverQuery {
    /// Who is sent.
    mode: FailoverMode,
    /// `HOST:PORT`; if it is left out, where the configuration or the last command says.
    target: Option<String>,
    /// What becomes of sessions.
    #[serde(default)]
    existing: ExistingSessions,
}

/// Sends clients to another balancer, or not any more.
#[utoipa::path(post, path = "/v1/failover", params(InstantFailoverQuery),
    responses(
        (status = 200, body = InstantFailoverStatus),
        (status = 400, description = "The order cannot be read", body = Problem),
        (status = 422, description = "There is no target, or none that can be used; nothing changed", body = Problem),
        Unanswered
    ))]
pub(super) async fn instant_failover(
    State(desk): State<Desk>,
    Asked(query): Asked<InstantFailoverQuery>,
) -> Answered<InstantFailoverStatus> {
    let mode = match query.mode {
        FailoverMode::Off => RedirectMode::Off,
        FailoverMode::On => RedirectMode::On,
        FailoverMode::All => RedirectMode::All,
    };
    let existing = match query.existing {
        ExistingSessions::Stay => Existing::Stay,
        ExistingSessions::Drain => Existing::Leave,
    };
    let target = query.target.as_deref().map(redirect_target).transpose();
    let target = target.map_err(|problem| Failure::Unusable(format!("the target {problem}")))?;
    let question = |answer| Question::InstantFailover { mode, target, existing, answer };
    desk.ask(question).await?.map(Json).map_err(Failure::Unusable)
}

/// A change of the primary waits for transactions and for replicas, each with a deadline of its own; their sum is below this.
pub const SWITCHOVER_TIMEOUT: Duration = Duration::from_secs(300);

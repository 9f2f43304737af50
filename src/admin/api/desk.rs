//! Where handlers put their questions, and what a request gets that has no answer.

use std::time::Duration;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{FromRequestParts, Query};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use utoipa::IntoResponses;

use super::question::{Question, ReloadRefused};
use crate::admin::shapes::Problem;

/// Where handlers put their questions.
#[derive(Clone)]
pub(super) struct Desk {
    pub(super) questions: mpsc::Sender<Question>,
}

impl Desk {
    pub(super) async fn ask<Answer>(
        &self,
        question: impl FnOnce(oneshot::Sender<Answer>) -> Question,
    ) -> Result<Answer, Failure> {
        self.ask_within(ANSWER_TIMEOUT, question).await
    }

    pub(super) async fn ask_within<Answer>(
        &self,
        patience: Duration,
        question: impl FnOnce(oneshot::Sender<Answer>) -> Question,
    ) -> Result<Answer, Failure> {
        let (answer, answered) = oneshot::channel();
        self.questions.try_send(question(answer)).map_err(|_| Failure::Busy)?;
        match timeout(patience, answered).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(_)) => Err(Failure::Ending),
            Err(_) => Err(Failure::NoAnswer),
        }
    }
}

/// Why a request gets no 2xx.
pub(super) enum Failure {
    /// Too many questions wait already.
    Busy,
    /// The process ends and answers no more.
    Ending,
    /// The owner of the state did not answer in time.
    NoAnswer,
    /// What was asked about does not exist.
    Unknown(String),
    /// The question or order is not written as it must be.
    Unreadable(String),
    /// A question where an order is expected, or the other way round.
    WrongMethod,
    /// What was asked for cannot be.
    Unusable(String),
    /// Nothing was reloaded.
    NotReloaded(ReloadRefused),
    /// The server did not become the primary, or not everything behind it was done.
    NotPromoted(Vec<String>),
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let (status, errors) = match self {
            Failure::Busy => (StatusCode::SERVICE_UNAVAILABLE, vec!["too many admin requests at once".into()]),
            Failure::Ending => (StatusCode::SERVICE_UNAVAILABLE, vec!["the process is ending".into()]),
            Failure::NoAnswer => (StatusCode::GATEWAY_TIMEOUT, vec!["the process did not answer in time".into()]),
            Failure::Unknown(reason) => (StatusCode::NOT_FOUND, vec![reason]),
            Failure::Unreadable(reason) => (StatusCode::BAD_REQUEST, vec![reason]),
            Failure::WrongMethod => {
                let how = "questions are asked with GET, orders are given with POST: /v1/openapi.json has them all";
                (StatusCode::METHOD_NOT_ALLOWED, vec![how.into()])
            }
            Failure::Unusable(reason) => (StatusCode::UNPROCESSABLE_ENTITY, vec![reason]),
            Failure::NotReloaded(ReloadRefused::BadConfig(errors)) => (StatusCode::UNPROCESSABLE_ENTITY, errors),
            Failure::NotReloaded(ReloadRefused::Impossible(errors)) | Failure::NotPromoted(errors) => {
                (StatusCode::CONFLICT, errors)
            }
        };
        (status, Json(Problem { errors })).into_response()
    }
}

pub(super) type Answered<Shape> = Result<Json<Shape>, Failure>;

/// What any question may come to, for the description of the API; [`Failure`] is what is answered.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "only described")]
pub(super) enum Unanswered {
    #[response(status = 503, description = "Too many questions at once, or the process is ending")]
    Busy(Problem),
    #[response(status = 504, description = "The process did not answer in time")]
    Late(Problem),
}

/// What stands behind the `?`; what is wrong with it is told like any other problem.
pub(super) struct Asked<Parameters>(pub(super) Parameters);

impl<Parameters, State> FromRequestParts<State> for Asked<Parameters>
where
    Query<Parameters>: FromRequestParts<State, Rejection = QueryRejection>,
    State: Send + Sync,
{
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &State) -> Result<Self, Failure> {
        match Query::from_request_parts(parts, state).await {
            Ok(Query(parameters)) => Ok(Asked(parameters)),
            Err(rejection) => Err(Failure::Unreadable(rejection.body_text())),
        }
    }
}

/// How long a question may wait for its answer. A reload reads files and binds sockets, so it is the longest.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);

//! The HTTP routes. A handler turns a request into a [`Question`], waits for the answer, and writes it as JSON.
//!
//! The handlers know nothing: whoever owns the state reads questions from a channel and answers each once. A bound on
//! the channel and a deadline on each wait keep a stuck owner from collecting requests.

use std::io;
use std::os::unix::net::UnixListener;
use std::time::Duration;

use axum::extract::rejection::QueryRejection;
use axum::extract::{FromRequestParts, Query, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use utoipa::{IntoParams, IntoResponses, OpenApi};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::drain::{self, Upkeep};
use super::metrics::{self, Metrics};
use super::page;
use super::shapes::{
    DrainStatus, ExistingSessions, Explanation, FailoverMode, Health, InstantFailoverStatus, Phase, Problem, Reloaded,
    SessionStatus, Status, Switchover,
};
use crate::config::{RedirectMode, redirect_target};
use crate::failover::{Mode, NotPromoted};
use crate::protocol::redirect::Target;
use crate::topology::Existing;

/// Questions waiting for their answer; the next request gets 503.
pub const QUESTIONS_MAX: usize = 64;
/// How long a question may wait for its answer. A reload reads files and binds sockets, so it is the longest.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);
/// A change of the primary waits for transactions and for replicas, each with a deadline of its own; their sum is below this.
pub const SWITCHOVER_TIMEOUT: Duration = Duration::from_secs(300);
/// The time that the sessions of a drained server have, where nothing else is said.
const DRAIN_BUDGET: Duration = Duration::from_secs(30);

/// Why a reload changed nothing, in lines for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReloadRefused {
    /// The file is not a configuration: one `file:line:column: …` a line.
    BadConfig(Vec<String>),
    /// The file is good, and the system or the state of the process does not allow it.
    Impossible(Vec<String>),
}

/// What an operator asks. Each carries the place for its one answer.
#[derive(Debug)]
pub enum Question {
    /// The whole process at one moment.
    Status(oneshot::Sender<Status>),
    /// One row a session.
    Sessions {
        /// No more than so many.
        limit: usize,
        /// The place for the answer.
        answer: oneshot::Sender<Vec<SessionStatus>>,
    },
    /// Where this user's statement goes and why; `Err` says why there is no explanation.
    Explain {
        /// The user's name.
        user: String,
        /// The statement, where one was given.
        sql: Option<String>,
        /// The place for the answer.
        answer: oneshot::Sender<Result<Explanation, String>>,
    },
    /// Read the configuration again; on `Err` nothing changed.
    Reload(oneshot::Sender<Result<Reloaded, ReloadRefused>>),
    /// Make this server the primary of its cluster.
    Switchover {
        /// `NAME` or `CLUSTER/NAME`.
        server: String,
        /// Whether it is done.
        mode: Mode,
        /// The place for the answer: what was done, one line each.
        answer: oneshot::Sender<Result<Vec<String>, NotPromoted>>,
    },
    /// Take a server out of use or into it, or only look who is there.
    Upkeep {
        /// `NAME` or `CLUSTER/NAME`.
        server: String,
        /// What is to be done with it.
        what: Upkeep,
        /// The place for the answer; `Err` says why there is no such server.
        answer: oneshot::Sender<Result<DrainStatus, String>>,
    },
    /// Send clients to another balancer, or not any more.
    InstantFailover {
        /// Who is sent.
        mode: RedirectMode,
        /// Where to, if not where the configuration or the last command says.
        target: Option<Target>,
        /// What becomes of sessions.
        existing: Existing,
        /// The place for the answer; `Err` says why nothing changed.
        answer: oneshot::Sender<Result<InstantFailoverStatus, String>>,
    },
    /// Alive, and in which phase.
    Health(oneshot::Sender<Phase>),
    /// All that is counted.
    Metrics(oneshot::Sender<Metrics>),
}

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
        .routes(routes!(status))
        .routes(routes!(sessions))
        .routes(routes!(explain))
        .routes(routes!(look))
        .routes(routes!(health))
        .routes(routes!(metrics))
}

/// What changes something.
fn ordering() -> OpenApiRouter<Desk> {
    OpenApiRouter::new()
        .routes(routes!(reload))
        .routes(routes!(switchover))
        .routes(routes!(instant_failover))
        .routes(routes!(drain))
        .routes(routes!(disable))
        .routes(routes!(enable))
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

/// Where handlers put their questions.
#[derive(Clone)]
struct Desk {
    questions: mpsc::Sender<Question>,
}

impl Desk {
    async fn ask<Answer>(&self, question: impl FnOnce(oneshot::Sender<Answer>) -> Question) -> Result<Answer, Failure> {
        self.ask_within(ANSWER_TIMEOUT, question).await
    }

    async fn ask_within<Answer>(
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
enum Failure {
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

type Answered<Shape> = Result<Json<Shape>, Failure>;

/// What any question may come to, for the description of the API; [`Failure`] is what is answered.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "only described")]
enum Unanswered {
    #[response(status = 503, description = "Too many questions at once, or the process is ending")]
    Busy(Problem),
    #[response(status = 504, description = "The process did not answer in time")]
    Late(Problem),
}

/// The whole process at one moment.
#[utoipa::path(get, path = "/v1/status",
    responses(
        (status = 200, body = Status),
        Unanswered
    ))]
async fn status(State(desk): State<Desk>) -> Answered<Status> {
    desk.ask(Question::Status).await.map(Json)
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct SessionsQuery {
    /// No more than so many; all, if it is left out.
    limit: Option<usize>,
}

/// One row a session, by id.
#[utoipa::path(get, path = "/v1/sessions", params(SessionsQuery),
    responses(
        (status = 200, body = Vec<SessionStatus>),
        Unanswered
    ))]
async fn sessions(State(desk): State<Desk>, Asked(query): Asked<SessionsQuery>) -> Answered<Vec<SessionStatus>> {
    let limit = query.limit.unwrap_or(usize::MAX);
    desk.ask(|answer| Question::Sessions { limit, answer }).await.map(Json)
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct ExplainQuery {
    /// The user's name.
    user: String,
    /// The statement; matters for users whose reads are split.
    sql: Option<String>,
}

/// Where this user's statement goes, and why.
#[utoipa::path(get, path = "/v1/explain", params(ExplainQuery),
    responses(
        (status = 200, body = Explanation),
        (status = 400, description = "The question cannot be read", body = Problem),
        (status = 404, description = "There is no such user", body = Problem),
        Unanswered
    ))]
async fn explain(State(desk): State<Desk>, Asked(query): Asked<ExplainQuery>) -> Answered<Explanation> {
    let ExplainQuery { user, sql } = query;
    let explained = desk.ask(|answer| Question::Explain { user, sql, answer }).await?;
    explained.map(Json).map_err(Failure::Unknown)
}

/// Reads the configuration again.
#[utoipa::path(post, path = "/v1/reload",
    responses(
        (status = 200, body = Reloaded),
        (status = 409, description = "A good file that cannot be applied; nothing changed", body = Problem),
        (status = 422, description = "The file is no configuration; nothing changed", body = Problem),
        Unanswered
    ))]
async fn reload(State(desk): State<Desk>) -> Answered<Reloaded> {
    desk.ask(Question::Reload).await?.map(Json).map_err(Failure::NotReloaded)
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct SwitchoverQuery {
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
async fn switchover(State(desk): State<Desk>, Asked(query): Asked<SwitchoverQuery>) -> Answered<Switchover> {
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
struct ServerQuery {
    /// `NAME`, or `CLUSTER/NAME`.
    server: String,
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct DrainQuery {
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
async fn look(State(desk): State<Desk>, Asked(query): Asked<ServerQuery>) -> Answered<DrainStatus> {
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
async fn drain(State(desk): State<Desk>, Asked(query): Asked<DrainQuery>) -> Answered<DrainStatus> {
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
async fn disable(State(desk): State<Desk>, Asked(query): Asked<ServerQuery>) -> Answered<DrainStatus> {
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
async fn enable(State(desk): State<Desk>, Asked(query): Asked<ServerQuery>) -> Answered<DrainStatus> {
    upkeep(&desk, query.server, Upkeep::Enable).await
}

async fn upkeep(desk: &Desk, server: String, what: Upkeep) -> Answered<DrainStatus> {
    let done = desk.ask(|answer| Question::Upkeep { server, what, answer }).await?;
    done.map(Json).map_err(Failure::Unknown)
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct InstantFailoverQuery {
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
async fn instant_failover(
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

/// Alive, and in which phase.
#[utoipa::path(get, path = "/v1/health",
    responses(
        (status = 200, body = Health),
        (status = 503, description = "It takes no more clients (a `phase`), or cannot answer (`errors`)", body = Health),
        (status = 504, description = "The process did not answer in time", body = Problem)
    ))]
async fn health(State(desk): State<Desk>) -> Result<Response, Failure> {
    let phase = desk.ask(Question::Health).await?;
    let status = match phase {
        Phase::Serving => StatusCode::OK,
        Phase::Draining => StatusCode::SERVICE_UNAVAILABLE,
    };
    Ok(with_status(status, Health { phase }))
}

/// All that is counted, in the text format of OpenMetrics.
#[utoipa::path(get, path = "/metrics",
    responses(
        (status = 200, body = String, content_type = "application/openmetrics-text"),
        Unanswered
    ))]
async fn metrics(State(desk): State<Desk>) -> Result<Response, Failure> {
    let metrics = desk.ask(Question::Metrics).await?;
    Ok(([(CONTENT_TYPE, metrics::MEDIA_TYPE)], metrics.page()).into_response())
}

async fn unknown() -> Failure {
    Failure::Unknown("there is nothing at this path".into())
}

async fn wrong_method() -> Failure {
    Failure::WrongMethod
}

/// What stands behind the `?`; what is wrong with it is told like any other problem.
struct Asked<Parameters>(Parameters);

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

fn with_status(status: StatusCode, shape: impl Serialize) -> Response {
    (status, Json(shape)).into_response()
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use hyper::Method;
    use tempfile::TempDir;
    use tokio::task::JoinHandle;

    use super::super::client::{ClientError, request, with_query};
    use super::super::shapes::tests::{a_session, a_status};
    use super::*;

    /// The API at a socket of its own, before an owner of the state that the test writes.
    struct Served {
        folder: TempDir,
        questions: mpsc::Receiver<Question>,
        server: JoinHandle<io::Result<()>>,
    }

    impl Served {
        fn start() -> Served {
            let folder = tempfile::tempdir().expect("a folder");
            let listener = UnixListener::bind(folder.path().join("admin.sock")).expect("free");
            let (sender, questions) = mpsc::channel(QUESTIONS_MAX);
            let server = tokio::spawn(serve(listener, sender));
            Served { folder, questions, server }
        }

        fn path(&self) -> PathBuf {
            self.folder.path().join("admin.sock")
        }

        /// One request, answered by `owner`.
        async fn ask(
            &mut self,
            method: Method,
            path: &str,
            owner: impl FnOnce(Question),
        ) -> Result<String, ClientError> {
            let socket = self.path();
            let asked = request(&socket, method, path);
            let answered = async { owner(self.questions.recv().await.expect("the API runs")) };
            let (body, ()) = tokio::join!(asked, answered);
            body.map(|body| String::from_utf8(body.to_vec()).expect("JSON is text"))
        }
    }

    fn refused(result: Result<String, ClientError>, expected: u16) -> Vec<String> {
        match result {
            Err(ClientError::Refused { status, errors }) => {
                assert_eq!(status, expected);
                errors
            }
            other => panic!("expected a refusal, got {other:?}"),
        }
    }

    #[tokio::test]
    async fn a_status_arrives_as_it_was_answered() {
        let mut served = Served::start();
        let body = served.ask(Method::GET, "/v1/status", |question| match question {
            Question::Status(answer) => answer.send(a_status()).expect("the handler waits"),
            other => panic!("asked {other:?}"),
        });
        let body = body.await.expect("200");
        assert_eq!(serde_json::from_str::<Status>(&body).expect("a status"), a_status());
        assert!(body.contains(r#""phase":"serving""#), "{body}");
    }

    #[tokio::test]
    async fn sessions_arrive_as_they_were_answered() {
        let mut served = Served::start();
        let body = served.ask(Method::GET, "/v1/sessions?limit=7", |question| match question {
            Question::Sessions { limit: 7, answer } => answer.send(vec![a_session()]).expect("the handler waits"),
            other => panic!("asked {other:?}"),
        });
        let rows: Vec<SessionStatus> = serde_json::from_str(&body.await.expect("200")).expect("rows");
        assert_eq!(rows, [a_session()]);
    }

    #[tokio::test]
    async fn an_explanation_is_asked_for_with_the_text_as_it_was_typed() {
        let mut served = Served::start();
        let path = with_query("/v1/explain", &[("user", "a&b"), ("sql", "SELECT '100%+é'")]);
        let result = served.ask(Method::GET, &path, |question| match question {
            Question::Explain { user, sql, answer } => {
                assert_eq!((user.as_str(), sql.as_deref()), ("a&b", Some("SELECT '100%+é'")));
                answer.send(Err("no user `a&b`".into())).expect("the handler waits");
            }
            other => panic!("asked {other:?}"),
        });
        assert_eq!(refused(result.await, 404), ["no user `a&b`"]);
    }

    #[tokio::test]
    async fn a_refused_reload_brings_each_line_and_a_good_one_each_change() {
        let mut served = Served::start();
        let errors = vec!["a.toml:3:1: unknown key".to_string(), "a.toml:9:5: no such pool".to_string()];
        let result = served.ask(Method::POST, "/v1/reload", |question| match question {
            Question::Reload(answer) => {
                answer.send(Err(ReloadRefused::BadConfig(errors.clone()))).expect("the handler waits")
            }
            other => panic!("asked {other:?}"),
        });
        assert_eq!(refused(result.await, 422), errors);

        let result = served.ask(Method::POST, "/v1/reload", |question| match question {
            Question::Reload(answer) => {
                answer.send(Err(ReloadRefused::Impossible(vec!["in use".into()]))).expect("the handler waits")
            }
            other => panic!("asked {other:?}"),
        });
        assert_eq!(refused(result.await, 409), ["in use"]);

        let changed = Reloaded { changes: vec!["user `b` added".into()], needs_restart: vec![], notes: vec![] };
        let body = served.ask(Method::POST, "/v1/reload", |question| match question {
            Question::Reload(answer) => answer.send(Ok(changed.clone())).expect("the handler waits"),
            other => panic!("asked {other:?}"),
        });
        assert_eq!(serde_json::from_str::<Reloaded>(&body.await.expect("200")).expect("changes"), changed);
    }

    #[tokio::test]
    async fn a_drain_takes_a_server_and_a_time() {
        let mut served = Served::start();
        let path = with_query("/v1/drain", &[("server", "shop/db1"), ("budget", "90s")]);
        let result = served.ask(Method::POST, &path, |question| match question {
            Question::Upkeep { server, what, answer } => {
                assert_eq!((server.as_str(), what), ("shop/db1", Upkeep::Drain(Duration::from_secs(90))));
                answer.send(Err("there is no server db1".into())).expect("the handler waits");
            }
            other => panic!("asked {other:?}"),
        });
        assert_eq!(refused(result.await, 404), ["there is no server db1"]);
        let path = with_query("/v1/drain", &[("server", "db1"), ("budget", "soon")]);
        let result = request(&served.path(), Method::POST, &path).await;
        assert!(refused(result.map(|_| String::new()), 422)[0].contains("soon"));
    }

    #[tokio::test]
    async fn health_is_bad_while_draining() {
        let mut served = Served::start();
        for (phase, expected_ok) in [(Phase::Serving, true), (Phase::Draining, false)] {
            let result = served.ask(Method::GET, "/v1/health", |question| match question {
                Question::Health(answer) => answer.send(phase).expect("the handler waits"),
                other => panic!("asked {other:?}"),
            });
            assert_eq!(result.await.is_ok(), expected_ok, "{phase:?}");
        }
    }

    #[tokio::test]
    async fn an_owner_that_ends_is_an_answer_too() {
        let mut served = Served::start();
        let result = served.ask(Method::GET, "/v1/status", drop);
        assert_eq!(refused(result.await, 503), ["the process is ending"]);
    }

    #[tokio::test]
    async fn more_questions_than_the_bound_are_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("admin.sock");
        let (sender, _questions) = mpsc::channel(1);
        let (answer, _answered) = oneshot::channel();
        sender.try_send(Question::Health(answer)).expect("the first has a place");
        let listener = UnixListener::bind(&path).expect("free");
        let served = tokio::spawn(serve(listener, sender));
        let result = request(&path, Method::GET, "/v1/status").await;
        assert_eq!(refused(result.map(|_| String::new()), 503), ["too many admin requests at once"]);
        served.abort();
    }

    #[tokio::test]
    async fn other_paths_and_methods_are_refused_and_an_absent_process_is_unreachable() {
        let served = Served::start();
        let socket = served.path();
        let result = request(&socket, Method::GET, "/v2/status").await;
        assert_eq!(refused(result.map(|_| String::new()), 404), ["there is nothing at this path"]);
        let result = request(&socket, Method::GET, "/v1/reload").await;
        assert_eq!(
            refused(result.map(|_| String::new()), 405),
            ["questions are asked with GET, orders are given with POST: /v1/openapi.json has them all"]
        );

        let Served { folder, server, .. } = served;
        server.abort();
        assert!(server.await.expect_err("aborted").is_cancelled());
        let result = request(&folder.path().join("admin.sock"), Method::GET, "/v1/status").await;
        assert!(matches!(result, Err(ClientError::Unreachable { .. })), "{result:?}");
    }
}

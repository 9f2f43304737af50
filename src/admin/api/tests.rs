use std::path::PathBuf;
use std::time::Duration;

use hyper::Method;
use tempfile::TempDir;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::super::client::{ClientError, request, with_query};
use super::super::drain::Upkeep;
use super::super::shapes::tests::{a_session, a_status};
use super::super::shapes::{Phase, Reloaded, SessionStatus, Status};
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
    async fn ask(&mut self, method: Method, path: &str, owner: impl FnOnce(Question)) -> Result<String, ClientError> {
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

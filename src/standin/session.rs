//! One connection: its login, then its commands until it ends.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpStream;

use crate::protocol::auth::RsaKey;
use crate::protocol::capability::Capabilities;
use crate::protocol::command::Command;
use crate::protocol::status::StatusFlags;

use super::answer::{Answer, Done, Rows};
use super::execute::{self, Outcome, SessionState};
use super::fault::Fault;
use super::login;
use super::parser::{self, Parsed};
use super::prepared::PreparedStatements;
use super::refusal::Refusal;
use super::reply::{self, RowForm};
use super::server::{Place, Server};
use super::store::Value;
use super::variables::MAX_ALLOWED_PACKET;
use super::wire::{NoPacket, Wire};

/// The connection is over: nothing more is said on it.
#[derive(Debug)]
pub(super) struct Over;

pub(super) type Step<T = ()> = Result<T, Over>;

impl From<std::io::Error> for Over {
    fn from(_: std::io::Error) -> Over {
        Over
    }
}

/// Serves one connection to its end: the client's, KILL's, or that of the whole server.
pub(super) async fn serve(stream: TcpStream, peer: SocketAddr, server: Arc<Server>, key: &'static RsaKey) {
    // Without it results are slower, and nothing else changes.
    let _ = stream.set_nodelay(true);
    let mut wire = Wire::new(stream);
    let host = peer.ip().to_string();
    let Some(place) = server.enter(host.clone()) else {
        // Before the greeting an ERR packet has no SQL state.
        wire.put(&reply::error_before_greeting(&Refusal::too_many_connections()));
        let _ = wire.flush().await;
        return;
    };
    let switches = Arc::clone(&place.switches);
    let serving = async {
        if let Ok(logged_in) = login::log_in(&mut wire, &place, &host, &server, key).await {
            let state = SessionState::new(place.id, logged_in.user, host);
            let mut session = Session {
                wire,
                server: &server,
                place: &place,
                key,
                state,
                capabilities: logged_in.capabilities,
                prepared: PreparedStatements::default(),
            };
            let _over = session.run(logged_in.database).await;
        }
    };
    tokio::select! {
        // The session first, so that it can answer a KILL of its own.
        biased;
        () = serving => {}
        () = switches.connection.notified() => {}
    }
}

struct Session<'a> {
    wire: Wire,
    server: &'a Server,
    place: &'a Place,
    key: &'a RsaKey,
    state: SessionState,
    /// What both sides agreed on; fixed at login.
    capabilities: Capabilities,
    prepared: PreparedStatements,
}

impl Session<'_> {
    async fn run(&mut self, database: Option<String>) -> Step {
        self.welcome(database).await?;
        loop {
            let payload = match self.wire.receive_command(MAX_ALLOWED_PACKET).await {
                Ok(payload) => payload,
                Err(NoPacket::Closed) => return Err(Over),
                Err(NoPacket::TooLarge) => return self.end_with(&Refusal::packet_too_large()).await,
                Err(NoPacket::OutOfOrder) => return self.end_with(&Refusal::out_of_order()).await,
            };
            self.command(&payload).await?;
            self.flush().await?;
        }
    }

    /// The OK or ERR that ends a login or COM_CHANGE_USER.
    async fn welcome(&mut self, database: Option<String>) -> Step {
        let done = match database.as_deref() {
            Some(name) => self.state.choose_database(name, self.server),
            None => Ok(Done::default()),
        };
        match done {
            Ok(done) => self.put_done(&done, false),
            Err(refusal) => return self.end_with(&refusal).await,
        }
        self.flush().await
    }

    async fn command(&mut self, payload: &[u8]) -> Step {
        let Some((code, body)) = payload.split_first() else {
            self.put_refusal(&Refusal::unknown_command());
            return Ok(());
        };
        match Command::from(*code) {
            Command::Quit => return Err(Over),
            Command::Query => return self.query(body).await,
            Command::StmtPrepare => self.prepare(body),
            Command::StmtExecute => return self.execute_prepared(body).await,
            // Neither has a reply, whether the statement is known or not.
            Command::StmtClose => self.prepared.close(body),
            Command::StmtSendLongData => self.prepared.spoil(body),
            Command::StmtReset => {
                let reset = self.prepared.reset(body);
                self.put_result(reset.map(|()| Done::default()));
            }
            Command::InitDb => {
                let chosen = self.state.choose_database(&String::from_utf8_lossy(body), self.server);
                self.put_result(chosen);
            }
            Command::Ping => self.put_done(&Done::default(), false),
            Command::Statistics => self.put_statistics(),
            Command::SetOption => self.wire.put(&reply::end(self.capabilities, self.status(false))),
            Command::ResetConnection => {
                self.state.reset();
                self.prepared = PreparedStatements::default();
                self.put_done(&Done::default(), false);
            }
            Command::ChangeUser => return self.change_user(payload).await,
            Command::ProcessKill => self.kill(body),
            _ => self.put_refusal(&Refusal::unknown_command()),
        }
        Ok(())
    }

    async fn query(&mut self, text: &[u8]) -> Step {
        let fault = self.strike(text).await?;
        let statements = match parser::parse(text) {
            Ok(statements) => statements,
            Err(error) => {
                self.put_refusal(&Refusal::syntax_at(text, error.at));
                return Ok(());
            }
        };
        if statements.len() > 1 && !self.capabilities.contains(Capabilities::MULTI_STATEMENTS) {
            self.put_refusal(&Refusal::syntax_at(text, text.len()));
            return Ok(());
        }
        let count = statements.len();
        for (index, parsed) in statements.iter().enumerate() {
            let more = index + 1 < count;
            if !self.carry_out(parsed, &[], RowForm::Text, fault, more).await? {
                break;
            }
        }
        Ok(())
    }

    fn prepare(&mut self, text: &[u8]) {
        match self.prepared.prepare(text, self.server) {
            Ok(prepared) => {
                for payload in reply::prepared(&prepared, self.capabilities, self.status(false)) {
                    self.wire.put(&payload);
                }
            }
            Err(refusal) => self.put_refusal(&refusal),
        }
    }

    async fn execute_prepared(&mut self, body: &[u8]) -> Step {
        let (text, parsed, parameters) = match self.prepared.bind(body) {
            Ok(bound) => bound,
            Err(refusal) => {
                self.put_refusal(&refusal);
                return Ok(());
            }
        };
        let fault = self.strike(&text).await?;
        self.carry_out(&parsed, &parameters, RowForm::Binary, fault, false).await.map(drop)
    }

    /// Counts the statement, and lets a fault that is armed for it strike, if it strikes before the reply.
    async fn strike(&mut self, text: &[u8]) -> Step<Option<Fault>> {
        self.server.count_statement();
        match self.server.take_fault(text) {
            Some(Fault::CloseBeforeCommand) => Err(Over),
            Some(Fault::NoReply) => std::future::pending().await,
            other => Ok(other),
        }
    }

    /// Carries out one statement and puts its reply; false when it ended with an error.
    async fn carry_out(
        &mut self,
        parsed: &Parsed,
        parameters: &[Value],
        form: RowForm,
        fault: Option<Fault>,
        more: bool,
    ) -> Step<bool> {
        let outcome = execute::execute(&parsed.statement, parameters, &mut self.state, self.server);
        let outcome = match outcome {
            Ok(outcome) => self.wait(outcome).await,
            Err(refusal) => Err(refusal),
        };
        if fault == Some(Fault::CloseAfterCommand) {
            return Err(Over);
        }
        match outcome {
            Ok(Answer::Rows(rows)) => self.send_rows(&rows, form, fault, more).await,
            Ok(Answer::Done(done)) => {
                self.slow_down(fault).await?;
                self.put_done(&done, more);
                Ok(true)
            }
            Err(refusal) => {
                self.put_refusal(&refusal);
                Ok(false)
            }
        }
    }

    /// Lets the statement take its time (SLEEP), unless KILL QUERY ends it.
    async fn wait(&mut self, outcome: Outcome) -> Result<Answer, Refusal> {
        if outcome.delay.is_zero() {
            return Ok(outcome.answer);
        }
        tokio::select! {
            () = tokio::time::sleep(outcome.delay) => Ok(outcome.answer),
            () = self.place.switches.query.notified() => Err(Refusal::interrupted()),
        }
    }

    async fn send_rows(&mut self, rows: &Rows, form: RowForm, fault: Option<Fault>, more: bool) -> Step<bool> {
        let kinds = rows.kinds();
        for payload in reply::result_head(&rows.columns, &kinds, self.capabilities, self.status(more)) {
            self.wire.put(&payload);
        }
        let mut index = 0;
        loop {
            let row = rows.row(index).map(|row| reply::row(&row, &kinds, form));
            match fault {
                Some(Fault::CloseAfterRows(count)) if count == index => return self.break_off().await,
                Some(Fault::CloseInsideRow(count)) if count == index => {
                    self.wire.put_half(row.as_deref().unwrap_or(b"no row"));
                    return self.break_off().await;
                }
                Some(Fault::ErrorAfterRows(count)) if count == index => {
                    self.put_refusal(&Refusal::asked_for());
                    return Ok(false);
                }
                _ => {}
            }
            let Some(row) = row else { break };
            self.slow_down(fault).await?;
            self.wire.put(&row);
            if self.wire.is_full() {
                self.flush().await?;
            }
            index += 1;
        }
        self.wire.put(&reply::end(self.capabilities, self.status(more)));
        Ok(true)
    }

    async fn slow_down(&mut self, fault: Option<Fault>) -> Step {
        if let Some(Fault::SlowRows(pause)) = fault {
            self.flush().await?;
            tokio::time::sleep(pause).await;
        }
        Ok(())
    }

    /// Sends what there is, and ends.
    async fn break_off<T>(&mut self) -> Step<T> {
        self.flush().await?;
        Err(Over)
    }

    async fn end_with(&mut self, refusal: &Refusal) -> Step {
        self.put_refusal(refusal);
        self.break_off().await
    }

    async fn change_user(&mut self, payload: &[u8]) -> Step {
        let host = self.state.host.clone();
        let changed =
            login::change_user(&mut self.wire, payload, self.capabilities, &host, self.place, self.server, self.key)
                .await?;
        self.state = SessionState::new(self.place.id, changed.user, host);
        self.prepared = PreparedStatements::default();
        self.welcome(changed.database).await
    }

    fn kill(&mut self, body: &[u8]) {
        let killed = match body.first_chunk() {
            Some(id) => self.server.kill(u32::from_le_bytes(*id).into(), false),
            None => Err(Refusal::unknown_command()),
        };
        self.put_result(killed.map(|()| Done::default()));
    }

    fn put_statistics(&mut self) {
        let uptime = self.server.started.elapsed().as_secs();
        let text = format!(
            "Uptime: {uptime}  Threads: {}  Questions: {}",
            self.server.session_count(),
            self.server.statement_count()
        );
        self.wire.put(text.as_bytes());
    }

    fn put_result(&mut self, result: Result<Done, Refusal>) {
        match result {
            Ok(done) => self.put_done(&done, false),
            Err(refusal) => self.put_refusal(&refusal),
        }
    }

    fn put_done(&mut self, done: &Done, more: bool) {
        let payload = reply::ok(done, self.capabilities, self.status(more));
        self.wire.put(&payload);
    }

    fn put_refusal(&mut self, refusal: &Refusal) {
        self.wire.put(&reply::error(refusal));
    }

    async fn flush(&mut self) -> Step {
        self.server.may_speak().await;
        Ok(self.wire.flush().await?)
    }

    fn status(&self, more: bool) -> StatusFlags {
        let mut status = StatusFlags::NONE;
        if self.state.autocommit {
            status = status | StatusFlags::AUTOCOMMIT;
        }
        if self.state.in_transaction {
            status = status | StatusFlags::IN_TRANS;
        }
        if more {
            status = status | StatusFlags::MORE_RESULTS;
        }
        status
    }
}

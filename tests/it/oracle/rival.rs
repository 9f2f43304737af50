//! Another session of the same user: it takes the one connection that there is whenever that is free, and leaves on it what
//! no other session may find.

use std::net::SocketAddr;
use std::time::Duration;

use crate::harness::wire::query_payload;
use crate::harness::{Account, Client, Shape};

/// What each of its turns leaves. None of it keeps the connection from going back: a user variable with a text would,
/// which may be another text under the settings that follow.
const LEAVINGS: [&str; 6] = [
    "SET @u1 = 777, @u2 = 777, @noted = 777",
    "SET time_zone = '-09:00', sql_mode = 'ANSI_QUOTES', group_concat_max_len = 5, lc_time_names = 'ja_JP'",
    "/* sqluice: primary */ SELECT 1 / 0, CAST('rival' AS SIGNED), 'rows', 'of the rival'",
    "SET NAMES latin1",
    "USE information_schema",
    "INSERT INTO no_such_table VALUES (1)",
];

/// How long it takes a free connection to come and to answer; whoever waits longer, waits for one that is not free.
const TURN: Duration = Duration::from_millis(20);

/// The session, and what it waits for.
pub(super) struct Rival {
    client: Client,
    turns: usize,
    /// It waits for an answer.
    waits: bool,
}

impl Rival {
    pub(super) fn login(address: SocketAddr, database: &str, capabilities: u64) -> Rival {
        let account = Account::new("app", "app").database(database).capabilities(capabilities);
        let client = Client::login(address, &account).unwrap_or_else(|error| panic!("the rival logs in: {error}"));
        Rival { client, turns: 0, waits: false }
    }

    /// Has the connection, if that is free now or has become so since the last time.
    pub(super) fn take_turn(&mut self) {
        if self.waits && !self.is_answered() {
            return;
        }
        let text = LEAVINGS[self.turns % LEAVINGS.len()];
        self.turns += 1;
        self.client.command(&query_payload(self.client.capabilities, text));
        self.waits = true;
        self.is_answered();
    }

    /// Takes in the answer if it comes in time.
    fn is_answered(&mut self) -> bool {
        let socket = self.client.socket();
        socket.set_read_timeout(Some(TURN)).expect("a socket takes a timeout");
        self.waits = socket.peek(&mut [0]).is_err();
        socket.set_read_timeout(Some(super::PATIENCE)).expect("a socket takes a timeout");
        if !self.waits {
            // Whatever it says: nobody compares it.
            self.client.reply(Shape::Results).expect("a whole reply");
        }
        !self.waits
    }
}

//! What a client does: it logs in, says commands, numbered writes, and garbage.

use super::*;

/// Users of the stage's configuration, each with another way through the session.
const USERS: [&str; 11] =
    ["app", "hashed", "mapped", "handed", "split", "within", "any", "lent", "shared", "moving", "newcomer"];

/// Commands that mean something to a session, and some that do not.
const COMMANDS: [&[u8]; 40] = [
    b"\x03SELECT a FROM t",
    b"\x03BEGIN",
    b"\x03COMMIT",
    b"\x03ROLLBACK",
    b"\x03START TRANSACTION READ ONLY",
    b"\x03SET autocommit = 0",
    b"\x03SET @a = 1, sql_mode = ''",
    b"\x03SET @a = @b + 1",
    b"\x03USE shop",
    b"\x03CREATE TEMPORARY TABLE x (a INT)",
    b"\x03SELECT GET_LOCK('l', 1)",
    b"\x03LOCK TABLES t WRITE",
    b"\x03UNLOCK TABLES",
    b"\x03SELECT 1; SELECT 2",
    b"\x03LOAD DATA LOCAL INFILE 'f' INTO TABLE t",
    b"\x03KILL 1073741825",
    b"\x03KILL QUERY 17",
    b"\x03SELECT LAST_INSERT_ID()",
    b"\x03SHOW WARNINGS",
    b"\x03SELECT FOUND_ROWS()",
    b"\x03PREPARE p FROM 'SELECT 1'",
    b"\x03EXECUTE p",
    b"\x03/* sqluice: primary */ SELECT 1",
    b"\x03/* sqluice: replica */ SELECT 1",
    b"\x03CALL p()",
    b"\x03SELECT a FROM t FOR UPDATE",
    b"\x03XA START 'x'",
    b"\x16SELECT a FROM t WHERE b = ?",
    b"\x17\x01\0\0\0\0\x01\0\0\0",
    b"\x17\x01\0\0\0\x01\x01\0\0\0\0\x01\x03\0\x05\0\0\0",
    b"\x18\x01\0\0\0\0\0abc",
    b"\x19\x01\0\0\0",
    b"\x1a\x01\0\0\0",
    b"\x1c\x01\0\0\0\x05\0\0\0",
    b"\x02shop",
    b"\x0e",
    b"\x1f",
    b"\x1b\0\0",
    b"\x0c\x01\0\0\x40",
    b"\x12\x04\0\0\0\0\0\x01\0\0\0",
];

impl Play<'_> {
    pub(super) fn log_in(&mut self) {
        let user = USERS[self.script.choice(USERS.len())];
        let Some(greeting) = self.greeting.take() else { return };
        let (_, plugin, auth_response) = ServerLogin::begin(&greeting, &credential("secret"));
        let response = HandshakeResponse {
            capabilities: with_database(greeting.capabilities, None).without(Capabilities::SSL),
            max_packet: 1 << 24,
            collation: 45,
            user: user.into(),
            auth_response,
            database: None,
            plugin: Some(plugin.name().to_vec()),
            attributes: Vec::new(),
        };
        let mut payload = Vec::new();
        response.encode(&mut payload);
        self.says(Side::Client, &packet(1, &payload));
    }

    pub(super) fn command(&mut self) {
        let payload = COMMANDS[self.script.choice(COMMANDS.len())];
        self.says(Side::Client, &packet(0, payload));
    }

    pub(super) fn numbered_write(&mut self) {
        self.numbered += 1;
        self.says(Side::Client, &query(&Journal::write(self.numbered)));
    }

    pub(super) fn clients_packet(&mut self) {
        let sequence = self.ends.next_sequence(Side::Client);
        let payload = self.script.bytes();
        self.says(Side::Client, &packet(sequence, &payload));
    }

    pub(super) fn raw(&mut self, side: Side) {
        let bytes = self.script.bytes();
        self.says(side, &bytes);
    }
}

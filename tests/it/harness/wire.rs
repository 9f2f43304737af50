//! A client that shows every packet. Blocking, trusting, independent of the crate; written to be read beside the
//! protocol's documentation.

use std::fmt;
use std::io::{self, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};

use super::deadline::WAIT_MAX;
use scramble::{caching_sha2_response, ed25519_response, encrypted_password, native_response, sha256_opening};

mod scramble;

/// Capability flags; the MariaDB extended ones are the upper 32 bits.
pub(crate) mod capability {
    pub(crate) const LONG_PASSWORD: u64 = 1;
    pub(crate) const FOUND_ROWS: u64 = 1 << 1;
    pub(crate) const LONG_FLAG: u64 = 1 << 2;
    pub(crate) const CONNECT_WITH_DB: u64 = 1 << 3;
    pub(crate) const COMPRESS: u64 = 1 << 5;
    pub(crate) const LOCAL_FILES: u64 = 1 << 7;
    pub(crate) const PROTOCOL_41: u64 = 1 << 9;
    pub(crate) const SSL: u64 = 1 << 11;
    pub(crate) const TRANSACTIONS: u64 = 1 << 13;
    pub(crate) const SECURE_CONNECTION: u64 = 1 << 15;
    pub(crate) const MULTI_STATEMENTS: u64 = 1 << 16;
    pub(crate) const MULTI_RESULTS: u64 = 1 << 17;
    pub(crate) const PS_MULTI_RESULTS: u64 = 1 << 18;
    pub(crate) const PLUGIN_AUTH: u64 = 1 << 19;
    pub(crate) const CONNECT_ATTRS: u64 = 1 << 20;
    pub(crate) const PLUGIN_AUTH_LENENC: u64 = 1 << 21;
    pub(crate) const EXPIRED_PASSWORDS: u64 = 1 << 22;
    pub(crate) const SESSION_TRACK: u64 = 1 << 23;
    pub(crate) const DEPRECATE_EOF: u64 = 1 << 24;
    pub(crate) const OPTIONAL_METADATA: u64 = 1 << 25;
    pub(crate) const ZSTD: u64 = 1 << 26;
    pub(crate) const QUERY_ATTRIBUTES: u64 = 1 << 27;
    pub(crate) const PROGRESS: u64 = 1 << 32;
    pub(crate) const STMT_BULK: u64 = 1 << 34;
    pub(crate) const EXTENDED_METADATA: u64 = 1 << 35;
    pub(crate) const CACHE_METADATA: u64 = 1 << 36;

    /// What any client of the last decade asks for.
    pub(crate) const USUAL: u64 = LONG_PASSWORD
        | LONG_FLAG
        | PROTOCOL_41
        | TRANSACTIONS
        | SECURE_CONNECTION
        | MULTI_RESULTS
        | PS_MULTI_RESULTS
        | PLUGIN_AUTH
        | PLUGIN_AUTH_LENENC;
}

use capability as cap;

/// Status flags of OK and EOF.
pub(crate) mod status {
    pub(crate) const IN_TRANSACTION: u16 = 0x0001;
    pub(crate) const MORE_RESULTS: u16 = 0x0008;
    pub(crate) const CURSOR_EXISTS: u16 = 0x0040;
    pub(crate) const LAST_ROW_SENT: u16 = 0x0080;
    pub(crate) const PS_OUT_PARAMS: u16 = 0x1000;
}

const PIECE_MAX: usize = 0xFF_FFFF;

/// Who logs in, and how.
#[derive(Clone, Debug)]
pub(crate) struct Account<'a> {
    pub(crate) user: &'a str,
    pub(crate) password: &'a str,
    pub(crate) database: Option<&'a str>,
    /// The plugin that the client starts with, `None` for the one that the greeting names.
    pub(crate) plugin: Option<&'a str>,
    /// Asked for where the server offers it.
    pub(crate) capabilities: u64,
    pub(crate) collation: u8,
    pub(crate) attributes: Vec<(&'a str, &'a str)>,
}

impl<'a> Account<'a> {
    pub(crate) fn new(user: &'a str, password: &'a str) -> Account<'a> {
        let capabilities =
            cap::USUAL | cap::SESSION_TRACK | cap::DEPRECATE_EOF | cap::MULTI_STATEMENTS | cap::LOCAL_FILES;
        Account { user, password, database: None, plugin: None, capabilities, collation: 45, attributes: Vec::new() }
    }

    pub(crate) fn database(mut self, name: &'a str) -> Account<'a> {
        self.database = Some(name);
        self
    }

    pub(crate) fn plugin(mut self, name: &'a str) -> Account<'a> {
        self.plugin = Some(name);
        self
    }

    pub(crate) fn capabilities(mut self, capabilities: u64) -> Account<'a> {
        self.capabilities = capabilities;
        self
    }

    pub(crate) fn collation(mut self, collation: u8) -> Account<'a> {
        self.collation = collation;
        self
    }

    pub(crate) fn attributes(mut self, attributes: &[(&'a str, &'a str)]) -> Account<'a> {
        self.attributes = attributes.to_vec();
        self
    }
}

/// An ERR packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ServerError {
    pub(crate) code: u16,
    /// Empty before the login: there the packet has none.
    pub(crate) state: String,
    pub(crate) message: String,
}

impl fmt::Display for ServerError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "ERROR {} ({}): {}", self.code, self.state, self.message)
    }
}

impl ServerError {
    pub(crate) fn parse(payload: &[u8]) -> ServerError {
        let code = u16::from_le_bytes([payload[1], payload[2]]);
        let (state, message) = match payload.get(3) {
            Some(b'#') => (&payload[4..9], &payload[9..]),
            _ => (&[][..], &payload[3..]),
        };
        ServerError { code, state: text(state), message: text(message) }
    }
}

/// The first packet of a server.
#[derive(Clone, Debug)]
pub(crate) struct Greeting {
    pub(crate) version: String,
    pub(crate) connection_id: u32,
    pub(crate) salt: Vec<u8>,
    pub(crate) capabilities: u64,
    pub(crate) plugin: String,
}

impl Greeting {
    fn parse(payload: &[u8]) -> Greeting {
        assert_eq!(payload[0], 10, "protocol version");
        let end = 1 + payload[1..].iter().position(|&byte| byte == 0).expect("the version ends");
        let rest = &payload[end + 1..];
        let low = u64::from(u16::from_le_bytes([rest[13], rest[14]]));
        let high = u64::from(u16::from_le_bytes([rest[18], rest[19]]));
        let extended = u64::from(u32::from_le_bytes([rest[27], rest[28], rest[29], rest[30]]));
        let mut capabilities = low | high << 16;
        // Only a MariaDB server clears the first bit, and only then are the reserved bytes capabilities.
        if capabilities & cap::LONG_PASSWORD == 0 {
            capabilities |= extended << 32;
        }
        let mut salt = rest[4..12].to_vec();
        salt.extend_from_slice(&rest[31..43]);
        let plugin = rest[44..].split(|&byte| byte == 0).next().unwrap_or_default();
        Greeting {
            version: text(&payload[1..end]),
            connection_id: u32::from_le_bytes([rest[0], rest[1], rest[2], rest[3]]),
            salt,
            capabilities,
            plugin: text(plugin),
        }
    }
}

/// One logical packet, its 16 MiB pieces joined.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Packet {
    /// Of its last piece.
    pub(crate) sequence: u8,
    pub(crate) payload: Vec<u8>,
}

/// How the packets that answer a command are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// Exactly one packet, whatever it is.
    Single,
    /// OK, ERR, LOCAL INFILE or result sets, until no more results follow.
    Results,
    Prepare,
    /// Definitions without a count, to the terminator.
    FieldList,
    /// Rows without definitions, to the terminator.
    Rows,
}

/// All packets that answer one command.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Reply {
    pub(crate) packets: Vec<Vec<u8>>,
    /// Of the ERR that ended it.
    pub(crate) error: Option<ServerError>,
    /// Of the last OK or EOF.
    pub(crate) status: u16,
    /// Rows of all result sets, undecoded.
    pub(crate) rows: Vec<Vec<u8>>,
    /// Files that the server asked for.
    pub(crate) files: Vec<String>,
    /// Progress reports; they come by the clock, so they are not among the packets.
    pub(crate) progress_reports: usize,
}

impl Reply {
    /// Panics unless the command succeeded.
    #[track_caller]
    pub(crate) fn ok(self) -> Reply {
        if let Some(error) = &self.error {
            panic!("{error}");
        }
        self
    }

    /// The error; panics if the command succeeded.
    #[track_caller]
    pub(crate) fn failed(self) -> ServerError {
        self.error.expect("the command fails")
    }

    /// The rows as text, `None` for NULL; for replies in the text protocol.
    pub(crate) fn text_rows(&self) -> Vec<Vec<Option<String>>> {
        self.rows.iter().map(|row| text_row(row)).collect()
    }
}

/// A logged-in session, direct or through sqluice.
#[derive(Debug)]
pub(crate) struct Client {
    stream: BufReader<TcpStream>,
    pub(crate) greeting: Greeting,
    /// What both sides agreed on.
    pub(crate) capabilities: u64,
    /// What the server's side sent during the login, in words: `switch PLUGIN`, `fast`, `full`, `key`.
    pub(crate) exchange: Vec<String>,
    /// The OK packet that ended the login.
    pub(crate) login_ok: Vec<u8>,
    next_sequence: u8,
    /// What LOCAL INFILE requests are answered with, packet by packet.
    pub(crate) local_file: Vec<Vec<u8>>,
}

impl Client {
    /// Connects and reads the greeting.
    pub(crate) fn connect(address: SocketAddr) -> Result<Client, ServerError> {
        Client::over(TcpStream::connect(address).expect("the listener accepts"))
    }

    /// Hears the greeting on a connection that stands.
    pub(crate) fn over(stream: TcpStream) -> Result<Client, ServerError> {
        stream.set_nodelay(true).expect("a socket takes options");
        // Only so that a missing reply fails the test instead of hanging it.
        stream.set_read_timeout(Some(WAIT_MAX)).expect("a socket takes a timeout");
        stream.set_write_timeout(Some(WAIT_MAX)).expect("a socket takes a timeout");
        let mut stream = BufReader::new(stream);
        let first = read_packet(&mut stream).expect("the server greets");
        if first.payload[0] == 0xFF {
            return Err(ServerError::parse(&first.payload));
        }
        assert_eq!(first.sequence, 0, "a greeting begins the conversation");
        Ok(Client {
            stream,
            greeting: Greeting::parse(&first.payload),
            capabilities: 0,
            exchange: Vec::new(),
            login_ok: Vec::new(),
            next_sequence: 1,
            local_file: Vec::new(),
        })
    }

    /// Connects and logs in.
    pub(crate) fn login(address: SocketAddr, account: &Account<'_>) -> Result<Client, ServerError> {
        let mut client = Client::connect(address)?;
        client.authenticate(account)?;
        Ok(client)
    }

    /// Answers the greeting.
    pub(crate) fn authenticate(&mut self, account: &Account<'_>) -> Result<(), ServerError> {
        let mut wanted = account.capabilities;
        if account.database.is_some() {
            wanted |= cap::CONNECT_WITH_DB;
        }
        if !account.attributes.is_empty() {
            wanted |= cap::CONNECT_ATTRS;
        }
        let mut agreed = wanted & (self.greeting.capabilities | cap::LONG_PASSWORD);
        // Extended capabilities are sent with the first bit cleared, as the server does.
        if agreed >> 32 != 0 {
            agreed &= !cap::LONG_PASSWORD;
        }
        self.capabilities = agreed;
        let plugin = account.plugin.unwrap_or(&self.greeting.plugin).to_owned();
        let salt = self.greeting.salt.clone();
        let response = first_response(&plugin, account.password, &salt);
        let payload = handshake_response(account, agreed, &plugin, &response);
        self.write(&payload);
        self.finish_login(account.password, plugin, salt)
    }

    /// COM_CHANGE_USER, up to the OK.
    pub(crate) fn change_user(&mut self, account: &Account<'_>) -> Result<(), ServerError> {
        let plugin = account.plugin.unwrap_or("mysql_native_password").to_owned();
        let salt = self.greeting.salt.clone();
        let response = first_response(&plugin, account.password, &salt);
        let mut payload = vec![0x11];
        payload.extend_from_slice(account.user.as_bytes());
        payload.push(0);
        payload.push(response.len() as u8);
        payload.extend_from_slice(&response);
        payload.extend_from_slice(account.database.unwrap_or("").as_bytes());
        payload.push(0);
        payload.extend_from_slice(&u16::from(account.collation).to_le_bytes());
        payload.extend_from_slice(plugin.as_bytes());
        payload.push(0);
        if self.capabilities & cap::CONNECT_ATTRS != 0 {
            append_attributes(&mut payload, &account.attributes);
        }
        self.command(&payload);
        self.finish_login(account.password, plugin, salt)
    }

    /// Follows the exchange of any plugin of this client to the OK or ERR that ends it.
    fn finish_login(&mut self, password: &str, mut plugin: String, mut salt: Vec<u8>) -> Result<(), ServerError> {
        loop {
            let payload = self.expect_packet().payload;
            match (payload[0], payload.get(1)) {
                (0x00, _) => {
                    self.login_ok = payload;
                    return Ok(());
                }
                (0xFF, _) => return Err(ServerError::parse(&payload)),
                (0xFE, _) => {
                    let end = 1 + payload[1..].iter().position(|&byte| byte == 0).expect("the plugin's name ends");
                    plugin = text(&payload[1..end]);
                    let length = if plugin == "client_ed25519" { SIGNED_LENGTH } else { 20 };
                    salt = payload[end + 1..].iter().copied().take(length).collect();
                    self.exchange.push(format!("switch {plugin}"));
                    let response = first_response(&plugin, password, &salt);
                    self.write(&response);
                }
                (0x01, Some(0x03)) if plugin == "caching_sha2_password" => self.exchange.push("fast".to_owned()),
                (0x01, Some(0x04)) if plugin == "caching_sha2_password" => {
                    self.exchange.push("full".to_owned());
                    self.write(&[0x02]);
                }
                (0x01, _) => {
                    self.exchange.push("key".to_owned());
                    let encrypted = encrypted_password(&payload[1..], password, &salt);
                    self.write(&encrypted);
                }
                other => panic!("a login cannot go on with {other:?}"),
            }
        }
    }

    pub(crate) fn connection_id(&self) -> u32 {
        self.greeting.connection_id
    }

    /// The socket, for tests that misuse it.
    pub(crate) fn socket(&self) -> &TcpStream {
        self.stream.get_ref()
    }

    /// Sends a command; it begins a new sequence.
    pub(crate) fn command(&mut self, payload: &[u8]) {
        self.try_command(payload).expect("the command can be sent");
    }

    pub(crate) fn try_command(&mut self, payload: &[u8]) -> io::Result<()> {
        self.next_sequence = 0;
        self.try_write(payload)
    }

    /// The next reply answers a command that was sent as raw bytes with sequence id 0.
    pub(crate) fn expect_new_reply(&mut self) {
        self.next_sequence = 1;
    }

    /// Sends a packet that continues the sequence.
    pub(crate) fn write(&mut self, payload: &[u8]) {
        self.try_write(payload).expect("the packet can be sent");
    }

    fn try_write(&mut self, payload: &[u8]) -> io::Result<()> {
        let bytes = framed(payload, &mut self.next_sequence);
        self.stream.get_mut().write_all(&bytes)
    }

    /// Sends bytes as they are.
    pub(crate) fn write_raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.get_mut().write_all(bytes)
    }

    /// The next logical packet; an error at the end of the connection.
    pub(crate) fn read(&mut self) -> io::Result<Packet> {
        let packet = read_packet(&mut self.stream)?;
        self.next_sequence = packet.sequence.wrapping_add(1);
        Ok(packet)
    }

    /// The next packet, which must carry the next sequence id.
    #[track_caller]
    pub(crate) fn expect_packet(&mut self) -> Packet {
        match self.try_packet() {
            Ok(packet) => packet,
            Err(error) => panic!("the connection ended where a packet was expected: {error}"),
        }
    }

    fn try_packet(&mut self) -> io::Result<Packet> {
        let expected = self.next_sequence;
        let packet = self.read()?;
        let pieces = packet.payload.len() / PIECE_MAX;
        let first = packet.sequence.wrapping_sub(pieces as u8);
        assert_eq!(first, expected, "sequence id of {:02x?}", &packet.payload[..packet.payload.len().min(64)]);
        Ok(packet)
    }

    /// Sends a command and reads the whole reply.
    #[track_caller]
    pub(crate) fn ask(&mut self, shape: Shape, payload: &[u8]) -> Reply {
        self.command(payload);
        match self.reply(shape) {
            Ok(reply) => reply,
            Err(error) => panic!("no whole reply to {:?}: {error}", text(&payload[..payload.len().min(200)])),
        }
    }

    /// COM_QUERY.
    #[track_caller]
    pub(crate) fn query(&mut self, sql: &str) -> Reply {
        self.ask(Shape::Results, &query_payload(self.capabilities, sql))
    }

    /// COM_QUERY that must succeed.
    #[track_caller]
    pub(crate) fn execute(&mut self, sql: &str) -> Reply {
        let reply = self.query(sql);
        if let Some(error) = &reply.error {
            panic!("{sql:.200}: {error}");
        }
        reply
    }

    /// The rows of a text query that must succeed.
    #[track_caller]
    pub(crate) fn rows(&mut self, sql: &str) -> Vec<Vec<Option<String>>> {
        self.execute(sql).text_rows()
    }

    /// The one value of a text query.
    #[track_caller]
    pub(crate) fn value(&mut self, sql: &str) -> String {
        let rows = self.rows(sql);
        assert!(rows.len() == 1 && !rows[0].is_empty(), "{sql} gives one row: {rows:?}");
        rows[0][0].clone().unwrap_or_else(|| "NULL".to_owned())
    }

    #[track_caller]
    pub(crate) fn ping(&mut self) {
        let reply = self.ask(Shape::Single, &[0x0E]).ok();
        assert_eq!(reply.packets[0][0], 0x00, "a ping is answered with OK");
    }

    /// COM_QUIT, then waits for the other end to close.
    pub(crate) fn quit(mut self) {
        self.command(&[0x01]);
        let mut rest = Vec::new();
        // A reset is as good an end as a close.
        let _ = self.stream.read_to_end(&mut rest);
        assert!(rest.is_empty(), "nothing answers COM_QUIT: {rest:02x?}");
    }

    /// Waits until the other end closes; gives the error packet that it may have sent before.
    pub(crate) fn await_close(&mut self) -> Option<ServerError> {
        let mut error = None;
        while let Ok(packet) = self.read() {
            if packet.payload.first() == Some(&0xFF) {
                error = Some(ServerError::parse(&packet.payload));
            }
        }
        error
    }

    /// Reads one whole reply of a known shape.
    pub(crate) fn reply(&mut self, shape: Shape) -> io::Result<Reply> {
        let mut reply = Reply::default();
        match shape {
            Shape::Single => {
                let payload = self.take(&mut reply)?;
                self.note_answer(&mut reply, &payload);
            }
            Shape::Results => while self.one_result(&mut reply)? {},
            Shape::Prepare => self.prepare_reply(&mut reply)?,
            Shape::FieldList => self.rows_to_end(&mut reply)?,
            Shape::Rows => self.rows_to_end(&mut reply)?,
        }
        Ok(reply)
    }

    fn take(&mut self, reply: &mut Reply) -> io::Result<Vec<u8>> {
        loop {
            let payload = self.try_packet()?.payload;
            if self.capabilities & cap::PROGRESS != 0 && payload.starts_with(&[0xFF, 0xFF, 0xFF]) {
                reply.progress_reports += 1;
                continue;
            }
            reply.packets.push(payload.clone());
            return Ok(payload);
        }
    }

    /// Reads OK, ERR, a file request or one result set; says whether more follow.
    fn one_result(&mut self, reply: &mut Reply) -> io::Result<bool> {
        let first = self.take(reply)?;
        match first[0] {
            0x00 | 0xFF => self.note_answer(reply, &first),
            0xFB => {
                reply.files.push(text(&first[1..]));
                for packet in std::mem::take(&mut self.local_file) {
                    self.try_write(&packet)?;
                }
                self.try_write(&[])?;
                return Ok(true);
            }
            _ => {
                let (columns, has_definitions) = self.column_count(&first);
                for _ in 0..if has_definitions { columns } else { 0 } {
                    self.take(reply)?;
                }
                if self.capabilities & cap::DEPRECATE_EOF == 0 {
                    let eof = self.take(reply)?;
                    assert!(self.ends_rows(reply, &eof), "EOF after the definitions: {eof:02x?}");
                    // With more results to come, the cursor is a stored program's own (MariaDB), and the rows follow.
                    if reply.status & (status::CURSOR_EXISTS | status::MORE_RESULTS) == status::CURSOR_EXISTS {
                        return Ok(false);
                    }
                    // MySQL 9.7 says only here, not in the EOF after the row, that an OK follows the OUT parameters.
                    if reply.status & status::PS_OUT_PARAMS != 0 {
                        let says_more = reply.status & status::MORE_RESULTS != 0;
                        self.rows_to_end(reply)?;
                        return Ok(says_more && reply.error.is_none());
                    }
                }
                self.rows_to_end(reply)?;
            }
        }
        Ok(reply.error.is_none() && reply.status & status::MORE_RESULTS != 0)
    }

    fn column_count(&self, payload: &[u8]) -> (u64, bool) {
        if self.capabilities & cap::OPTIONAL_METADATA != 0 {
            return (lenenc(&payload[1..]).0, payload[0] == 1);
        }
        let (count, length) = lenenc(payload);
        let has_definitions = self.capabilities & cap::CACHE_METADATA == 0 || payload[length] == 1;
        (count, has_definitions)
    }

    fn rows_to_end(&mut self, reply: &mut Reply) -> io::Result<()> {
        loop {
            let payload = self.take(reply)?;
            if self.ends_rows(reply, &payload) {
                return Ok(());
            }
            reply.rows.push(payload);
        }
    }

    fn prepare_reply(&mut self, reply: &mut Reply) -> io::Result<()> {
        let first = self.take(reply)?;
        if first[0] == 0xFF {
            self.note_answer(reply, &first);
            return Ok(());
        }
        let columns = u16::from_le_bytes([first[5], first[6]]);
        let parameters = u16::from_le_bytes([first[7], first[8]]);
        let has_definitions = self.capabilities & cap::OPTIONAL_METADATA == 0 || first[12] == 1;
        for count in [parameters, columns] {
            if count == 0 || !has_definitions {
                continue;
            }
            let eof = usize::from(self.capabilities & cap::DEPRECATE_EOF == 0);
            for _ in 0..usize::from(count) + eof {
                self.take(reply)?;
            }
        }
        Ok(())
    }

    /// Keeps the status or the error of a packet that is the whole answer.
    fn note_answer(&self, reply: &mut Reply, payload: &[u8]) {
        match payload[0] {
            0xFF => reply.error = Some(ServerError::parse(payload)),
            0x00 | 0xFE => reply.status = end_status(payload, self.capabilities),
            _ => {}
        }
    }

    /// Whether a packet among rows is their end, which it keeps; `00` begins a row there.
    fn ends_rows(&self, reply: &mut Reply, payload: &[u8]) -> bool {
        let length_max = if self.capabilities & cap::DEPRECATE_EOF == 0 { 5 } else { PIECE_MAX - 1 };
        let ends = payload[0] == 0xFF || payload[0] == 0xFE && payload.len() <= length_max;
        if ends {
            self.note_answer(reply, payload);
        }
        ends
    }
}

fn end_status(payload: &[u8], capabilities: u64) -> u16 {
    if payload[0] == 0xFE && capabilities & cap::DEPRECATE_EOF == 0 {
        return u16::from_le_bytes([payload[3], payload[4]]);
    }
    let (_, affected) = lenenc(&payload[1..]);
    let (_, inserted) = lenenc(&payload[1 + affected..]);
    let at = 1 + affected + inserted;
    match payload.get(at..at + 2) {
        Some(status) => u16::from_le_bytes([status[0], status[1]]),
        None => 0,
    }
}

/// COM_QUERY, with an empty list of query attributes where those were agreed on.
pub(crate) fn query_payload(capabilities: u64, sql: &str) -> Vec<u8> {
    let mut payload = vec![0x03];
    if capabilities & cap::QUERY_ATTRIBUTES != 0 {
        payload.extend_from_slice(&[0, 1]);
    }
    payload.extend_from_slice(sql.as_bytes());
    payload
}

/// A payload cut into pieces with headers.
pub(crate) fn framed(payload: &[u8], sequence: &mut u8) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(payload.len() + 8);
    let mut rest = payload;
    loop {
        let piece = &rest[..rest.len().min(PIECE_MAX)];
        rest = &rest[piece.len()..];
        bytes.extend_from_slice(&(piece.len() as u32).to_le_bytes()[..3]);
        bytes.push(*sequence);
        bytes.extend_from_slice(piece);
        *sequence = sequence.wrapping_add(1);
        if piece.len() < PIECE_MAX {
            return bytes;
        }
    }
}

fn read_packet(stream: &mut impl Read) -> io::Result<Packet> {
    let mut payload = Vec::new();
    loop {
        let mut header = [0; 4];
        stream.read_exact(&mut header)?;
        let length = u32::from_le_bytes([header[0], header[1], header[2], 0]) as usize;
        let start = payload.len();
        payload.resize(start + length, 0);
        stream.read_exact(&mut payload[start..])?;
        if length < PIECE_MAX {
            return Ok(Packet { sequence: header[3], payload });
        }
    }
}

/// Bytes that a server has signed.
const SIGNED_LENGTH: usize = 32;

fn first_response(plugin: &str, password: &str, salt: &[u8]) -> Vec<u8> {
    match plugin {
        "mysql_native_password" => native_response(password, salt),
        "caching_sha2_password" => caching_sha2_response(password, salt),
        "sha256_password" => sha256_opening(password),
        "client_ed25519" if salt.len() == SIGNED_LENGTH => ed25519_response(password, salt),
        // What a client sends that does not know the plugin that the server wants first.
        _ => Vec::new(),
    }
}

fn handshake_response(account: &Account<'_>, capabilities: u64, plugin: &str, response: &[u8]) -> Vec<u8> {
    let mut payload = Vec::new();
    payload.extend_from_slice(&(capabilities as u32).to_le_bytes());
    payload.extend_from_slice(&(1_u32 << 30).to_le_bytes());
    payload.push(account.collation);
    payload.extend_from_slice(&[0; 19]);
    payload.extend_from_slice(&((capabilities >> 32) as u32).to_le_bytes());
    payload.extend_from_slice(account.user.as_bytes());
    payload.push(0);
    payload.push(response.len() as u8);
    payload.extend_from_slice(response);
    if capabilities & cap::CONNECT_WITH_DB != 0 {
        payload.extend_from_slice(account.database.unwrap_or("").as_bytes());
        payload.push(0);
    }
    if capabilities & cap::PLUGIN_AUTH != 0 {
        payload.extend_from_slice(plugin.as_bytes());
        payload.push(0);
    }
    if capabilities & cap::CONNECT_ATTRS != 0 {
        append_attributes(&mut payload, &account.attributes);
    }
    payload
}

fn append_attributes(payload: &mut Vec<u8>, attributes: &[(&str, &str)]) {
    let mut pairs = Vec::new();
    for (name, value) in attributes {
        append_lenenc_bytes(&mut pairs, name.as_bytes());
        append_lenenc_bytes(&mut pairs, value.as_bytes());
    }
    append_lenenc_bytes(payload, &pairs);
}

/// A length and the bytes.
pub(crate) fn append_lenenc_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    match bytes.len() {
        length @ 0..=0xFA => out.push(length as u8),
        length @ 0xFB..=0xFFFF => {
            out.push(0xFC);
            out.extend_from_slice(&(length as u16).to_le_bytes());
        }
        length => {
            out.push(0xFD);
            out.extend_from_slice(&(length as u32).to_le_bytes()[..3]);
        }
    }
    out.extend_from_slice(bytes);
}

/// A length-encoded integer and how many bytes it takes.
pub(crate) fn lenenc(bytes: &[u8]) -> (u64, usize) {
    let wide = |length: usize| {
        let mut value = [0; 8];
        value[..length].copy_from_slice(&bytes[1..1 + length]);
        (u64::from_le_bytes(value), 1 + length)
    };
    match bytes[0] {
        0xFC => wide(2),
        0xFD => wide(3),
        0xFE => wide(8),
        small => (u64::from(small), 1),
    }
}

fn text_row(mut row: &[u8]) -> Vec<Option<String>> {
    let mut values = Vec::new();
    while !row.is_empty() {
        if row[0] == 0xFB {
            values.push(None);
            row = &row[1..];
            continue;
        }
        let (length, start) = lenenc(row);
        let end = start + length as usize;
        values.push(Some(text(&row[start..end])));
        row = &row[end..];
    }
    values
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

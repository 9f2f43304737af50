#!/usr/bin/env python3
"""Writes down what a server sends: capture.py PORT > SERVER.txt

Logs in as app/app (for MySQL: after another login has filled the server's cache), runs commands under several
sets of capabilities, and prints one line a packet stream:

    greeting <hex>
    response <offered capabilities> <hex>            what this script answered to the greeting
    login    <capabilities> <hex>                    the server's packet that ended the login
    reply    <shape> <capabilities> <title> <hex>    all bytes of one reply

Capabilities are hexadecimal, MariaDB's extended ones in the upper 32 bits.
"""
import hashlib
import os
import socket
import struct
import sys
import time

LONG_PASSWORD, CONNECT_WITH_DB, LOCAL_FILES, PROTOCOL_41 = 1 << 0, 1 << 3, 1 << 7, 1 << 9
TRANSACTIONS, SECURE_CONNECTION, MULTI_STATEMENTS, MULTI_RESULTS = 1 << 13, 1 << 15, 1 << 16, 1 << 17
PS_MULTI_RESULTS, PLUGIN_AUTH, CONNECT_ATTRS, SESSION_TRACK = 1 << 18, 1 << 19, 1 << 20, 1 << 23
DEPRECATE_EOF, OPTIONAL_METADATA = 1 << 24, 1 << 25
PROGRESS, BULK, EXTENDED_METADATA, CACHE_METADATA, BULK_UNITS = 1 << 32, 1 << 34, 1 << 35, 1 << 36, 1 << 37
BASE = (PROTOCOL_41 | TRANSACTIONS | SECURE_CONNECTION | MULTI_STATEMENTS | MULTI_RESULTS | PS_MULTI_RESULTS
        | PLUGIN_AUTH | CONNECT_ATTRS | LOCAL_FILES | CONNECT_WITH_DB)
DATABASE = "sqluice_corpus"


class Connection:
    def __init__(self, port, capabilities, quiet=True):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=10)
        _, greeting, raw = self.packet()
        self.greeting = raw
        end = greeting.index(0, 1)
        low, high = struct.unpack_from("<H", greeting, end + 14)[0], struct.unpack_from("<H", greeting, end + 19)[0]
        extended = struct.unpack_from("<I", greeting, end + 28)[0]
        self.is_mariadb = b"MariaDB" in greeting[:end]
        offered = low | high << 16 | (extended << 32 if self.is_mariadb else 0)
        self.capabilities = capabilities & offered if self.is_mariadb else (capabilities | LONG_PASSWORD) & offered
        salt = greeting[end + 5:end + 13] + greeting[end + 32:end + 44]
        plugin = greeting[end + 45:].rstrip(b"\0")
        attributes = b"\x0c_client_name\x07sqluice\x04_pid\x0242"
        self.response = (struct.pack("<IIB19xI", self.capabilities & 0xFFFFFFFF, 1 << 24, 45, self.capabilities >> 32)
                         + b"app\0" + lstr(prove(plugin, b"app", salt)) + DATABASE.encode() + b"\0"
                         + plugin + b"\0" + lstr(attributes))
        self.offered = offered
        self.send(1, self.response)
        while True:
            sequence, payload, raw = self.packet()
            if payload[0] == 0xFE:
                end = payload.index(0)
                self.send(sequence + 1, prove(payload[1:end], b"app", payload[end + 1:].rstrip(b"\0")))
            elif payload[0] == 1:
                assert payload == b"\1\3", "log in once with another client first"
            else:
                assert payload[0] == 0, payload
                self.login = raw
                return

    def exact(self, length):
        data = b""
        while len(data) < length:
            more = self.socket.recv(length - len(data))
            if not more:
                raise EOFError
            data += more
        return data

    def packet(self):
        header = self.exact(4)
        payload = self.exact(int.from_bytes(header[:3], "little"))
        return header[3], payload, header + payload

    def send(self, sequence, payload):
        self.socket.sendall(len(payload).to_bytes(3, "little") + bytes([sequence]) + payload)

    def run(self, command, silence=0.2):
        """All that comes until the server has been silent for some seconds."""
        self.send(0, command)
        return self.gather(silence)

    def gather(self, silence=0.2):
        data = b""
        self.socket.settimeout(10)
        while True:
            try:
                more = self.socket.recv(1 << 20)
            except TimeoutError:
                return data
            if not more:
                return data
            data += more
            self.socket.settimeout(silence)


def lstr(data):
    assert len(data) < 251
    return bytes([len(data)]) + data


def prove(plugin, password, salt):
    hash_ = {b"mysql_native_password": hashlib.sha1, b"caching_sha2_password": hashlib.sha256}[plugin]
    first = hash_(password).digest()
    second = hash_(first).digest()
    mask = hash_(salt + second if plugin == b"mysql_native_password" else second + salt).digest()
    return bytes(a ^ b for a, b in zip(first, mask))


def setup(port):
    connection = Connection.__new__(Connection)
    global DATABASE
    database, DATABASE = DATABASE, "test"
    connection.__init__(port, BASE)
    DATABASE = database
    numbers = ",".join(f"({n})" for n in range(1, 6))
    for sql in [f"CREATE DATABASE IF NOT EXISTS {database}", f"USE {database}",
                "DROP TABLE IF EXISTS t", "CREATE TABLE t (a INT PRIMARY KEY, b TEXT)",
                f"INSERT INTO t (a) VALUES {numbers}",
                "DROP PROCEDURE IF EXISTS two", "CREATE PROCEDURE two() BEGIN SELECT 1; SELECT a FROM t; END",
                "DROP PROCEDURE IF EXISTS fails",
                "CREATE PROCEDURE fails() BEGIN SELECT 1; SIGNAL SQLSTATE '45000' SET MYSQL_ERRNO=1644; END",
                "DROP PROCEDURE IF EXISTS out_", "CREATE PROCEDURE out_(OUT x INT) SET x = 7"]:
        answer = connection.run(b"\x03" + sql.encode())
        assert answer[4] == 0, (sql, answer)


def replies(connection):
    """(shape, title, bytes) of every command that tells something."""
    query = lambda sql: ("result_set", sql, connection.run(b"\x03" + sql.encode()))
    yield query("SELECT 1")
    yield query("SELECT NULL, ''")
    yield query("SELECT a FROM t WHERE a > 9")
    yield query("SELECT a, b FROM t")
    yield query("/* nothing */")
    yield query("")
    yield query("SELEKT")
    yield query("SET NAMES utf8mb4")
    yield query("BEGIN")
    yield query("INSERT INTO t VALUES (100, 'x'), (101, 'y')")
    yield query("SELECT @@autocommit")
    yield query("ROLLBACK")
    yield query("SELECT 1; DO 1; SELECT a FROM t")
    yield query("SELECT 1; SELEKT; SELECT 2")
    yield query("CALL two()")
    yield query("CALL fails()")
    # The error comes with the third row: some rows are already on their way.
    yield query("SELECT a, (SELECT x.a FROM t x WHERE x.a = t.a OR t.a = 3) FROM t ORDER BY a")
    yield query(f"USE {DATABASE}")
    yield "simple", "PING", connection.run(b"\x0e")
    yield "simple", "INIT_DB", connection.run(b"\x02" + DATABASE.encode())
    yield "simple", "INIT_DB unknown", connection.run(b"\x02no_such_database")
    yield "simple", "SET_OPTION", connection.run(b"\x1b\x00\x00")
    yield "simple", "SET_OPTION wrong", connection.run(b"\x1b\x09\x00")
    connection.run(b"\x1b\x00\x00")
    yield "simple", "DEBUG", connection.run(b"\x0d")
    yield "statistics", "STATISTICS", connection.run(b"\x09")
    yield "field_list", "FIELD_LIST", connection.run(b"\x04t\0")
    yield "field_list", "FIELD_LIST unknown", connection.run(b"\x04no_such_table\0")
    yield "result_set", "PROCESS_INFO", connection.run(b"\x0a")
    yield from prepared(connection)
    yield from infile(connection)
    if connection.is_mariadb and connection.capabilities & PROGRESS:
        yield query("SET progress_report_time = 1")
        yield query("CREATE TABLE IF NOT EXISTS long_ (a INT, b CHAR(200) DEFAULT 'x') ENGINE=Aria")
        yield query("INSERT INTO long_ (a) SELECT seq FROM seq_1_to_400000")
        alter = "ALTER TABLE long_ ENGINE=MyISAM, ADD KEY (b, a)"
        yield "result_set", alter, connection.run(b"\x03" + alter.encode(), silence=8)
        yield query("DROP TABLE long_")
    yield "simple", "RESET_CONNECTION", connection.run(b"\x1f")
    yield "simple", "unknown command", connection.run(b"\xf0")


def prepared(connection):
    for sql in ["DO 1", "SELECT 1", "DO ?", "SELECT a, b FROM t WHERE a = ? OR a = ?", "SELEKT"]:
        yield "prepare", f"PREPARE {sql}", connection.run(b"\x16" + sql.encode())
    execute = lambda statement, flags=0: connection.run(b"\x17" + statement + bytes([flags]) + struct.pack("<I", 1))
    prepare = lambda sql: connection.run(b"\x16" + sql.encode())[5:9]
    if connection.capabilities & OPTIONAL_METADATA:
        connection.run(b"\x03SET resultset_metadata = NONE")
        yield "prepare", "PREPARE without metadata", connection.run(b"\x16SELECT a, b FROM t WHERE a = ?")
        yield "result_set", "SELECT without metadata", connection.run(b"\x03SELECT a, b FROM t")
        yield "result_set", "OK without metadata", connection.run(b"\x03DO 1")
        yield "result_set", "EXECUTE without metadata", execute(prepare("SELECT a FROM t"))
        connection.run(b"\x03SET resultset_metadata = FULL")
    statement = prepare("SELECT a, b FROM t")
    yield "result_set", "EXECUTE", execute(statement)
    yield "result_set", "EXECUTE again", execute(statement)
    yield "cursor", "EXECUTE with a cursor", execute(statement, 1)
    fetch = lambda count: connection.run(b"\x1c" + statement + struct.pack("<I", count))
    yield "fetch", "FETCH 2", fetch(2)
    yield "fetch", "FETCH 9", fetch(9)
    yield "fetch", "FETCH behind the end", fetch(9)
    yield "simple", "STMT_RESET", connection.run(b"\x1a" + statement)
    yield "simple", "STMT_RESET unknown", connection.run(b"\x1a\xee\xee\xee\x0e")
    yield "result_set", "EXECUTE of nothing", execute(prepare("DO 1"))
    yield "result_set", "EXECUTE CALL two", execute(prepare("CALL two()"))
    call = b"\x17" + prepare("CALL out_(?)") + struct.pack("<BIBB", 0, 1, 0, 1) + b"\x03\x00" + struct.pack("<i", 5)
    yield "result_set", "EXECUTE CALL with OUT", connection.run(call)
    if connection.capabilities & BULK:
        insert = lambda sql: (b"\xfa" + prepare(sql) + b"\x80\x00\x03\x00"
                              + b"".join(b"\0" + struct.pack("<i", n) for n in range(200, 203)))
        yield "result_set", "BULK", connection.run(insert("INSERT INTO t (a) VALUES (?)"))
        connection.run(b"\x03DELETE FROM t WHERE a >= 200")
        yield "result_set", "BULK RETURNING", connection.run(insert("INSERT INTO t (a) VALUES (?) RETURNING a"))
        connection.run(b"\x03DELETE FROM t WHERE a >= 200")


def infile(connection):
    request = connection.run(b"\x03LOAD DATA LOCAL INFILE 'file' INTO TABLE t (a)")
    if request[4] != 0xFB:
        yield "result_set", "LOAD DATA refused", request
        return
    connection.send(2, b"300\n301\n")
    connection.send(3, b"")
    yield "result_set", "LOAD DATA LOCAL", request + connection.gather()
    connection.run(b"\x03DELETE FROM t WHERE a >= 300")


def main():
    port = int(sys.argv[1])
    setup(port)
    metadata = OPTIONAL_METADATA | CACHE_METADATA
    sets = [BASE, BASE | SESSION_TRACK | DEPRECATE_EOF, BASE | metadata,
            BASE | SESSION_TRACK | DEPRECATE_EOF | metadata | PROGRESS | BULK | EXTENDED_METADATA,
            BASE | DEPRECATE_EOF | BULK | BULK_UNITS]
    seen = set()
    for wanted in sets:
        connection = Connection(port, wanted)
        if connection.capabilities in seen:
            continue
        seen.add(connection.capabilities)
        print("greeting", connection.greeting.hex())
        print("response", f"{connection.offered:x}", connection.response.hex())
        print("login", f"{connection.capabilities:x}", connection.login.hex())
        for shape, title, data in replies(connection):
            title = "_".join(title.split())
            print("reply", shape, f"{connection.capabilities:x}", title or "(empty)", data.hex())
    connection.run(f"\x03DROP DATABASE {DATABASE}".encode())


if __name__ == "__main__":
    main()

"""What stands at the edges of TLS, byte by byte: sessions that are resumed, bytes in the segment of the SSLRequest, ends in
the middle. Prints a line for each.

HOST PORT USER PASSWORD"""

import hashlib
import socket
import ssl
import struct
import sys

HOST, PORT, USER, PASSWORD = sys.argv[1:]
# PROTOCOL_41, SSL, TRANSACTIONS, SECURE_CONNECTION, PLUGIN_AUTH
OPENING = struct.pack("<IIB", 0x8AA00, 1 << 24, 45) + bytes(23)


def packet(sequence, payload):
    return len(payload).to_bytes(3, "little") + bytes([sequence]) + payload


SSL_REQUEST = packet(1, OPENING)


def exactly(receive, length):
    data = b""
    while len(data) < length:
        more = receive(length - len(data))
        if not more:
            raise EOFError
        data += more
    return data


def read_packet(receive):
    head = exactly(receive, 4)
    return exactly(receive, int.from_bytes(head[:3], "little"))


def context(version):
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.check_hostname = False
    made.verify_mode = ssl.CERT_NONE
    made.minimum_version = made.maximum_version = version
    return made


def response(salt):
    stage1 = hashlib.sha1(PASSWORD.encode()).digest()
    key = hashlib.sha1(salt + hashlib.sha1(stage1).digest()).digest()
    proof = bytes(a ^ b for a, b in zip(stage1, key))
    return packet(2, OPENING + USER.encode() + b"\0" + bytes([20]) + proof + b"mysql_native_password\0")


class Client:
    """A connection that begins TLS by hand: records are moved here, so that it is known what stands in which segment."""

    def __init__(self):
        self.socket = socket.create_connection((HOST, int(PORT)), timeout=60)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        greeting = read_packet(self.socket.recv)
        rest = greeting[greeting.index(b"\0", 1) + 1 :]
        self.salt = rest[4:12] + rest[31:43]

    def secure(self, tls, session=None, first=b""):
        """`first` goes in one segment with the ClientHello."""
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = tls.wrap_bio(self.incoming, self.outgoing, session=session)
        self.first = first
        self.repeat(self.tls.do_handshake)

    def repeat(self, step, *arguments):
        while True:
            try:
                done = step(*arguments)
                self.flush()
                return done
            except ssl.SSLWantReadError:
                self.flush()
                received = self.socket.recv(1 << 16)
                if received:
                    self.incoming.write(received)
                else:
                    self.incoming.write_eof()

    def flush(self):
        records = self.first + self.outgoing.read()
        self.first = b""
        if records:
            self.socket.sendall(records)

    def receive(self, length):
        return self.repeat(self.tls.read, length)

    def send(self, data):
        self.repeat(self.tls.write, data)

    def log_in(self):
        self.send(response(self.salt))
        reply = read_packet(self.receive)
        assert reply[0] == 0, reply

    def is_closed(self):
        try:
            while self.socket.recv(1 << 16):
                pass
        except ConnectionResetError:
            pass
        return "closed"


def logged_in(tls, session=None):
    client = Client()
    client.socket.sendall(SSL_REQUEST)
    client.secure(tls, session)
    client.log_in()
    return client


for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
    tls = context(version)
    first = logged_in(tls)
    second = logged_in(tls, first.tls.session)
    print(f"resumed in {second.tls.version()}: {second.tls.session_reused}")

client = Client()
client.secure(context(ssl.TLSVersion.TLSv1_3), first=SSL_REQUEST)
client.log_in()
print("ClientHello in the segment of the SSLRequest: logged in")

client = Client()
client.socket.sendall(SSL_REQUEST + response(client.salt))
ALERT = 0x15
answer = client.socket.recv(1 << 16)
print("login in clear behind the SSLRequest:", "alert" if answer[0] == ALERT else answer)
client.is_closed()

client = logged_in(context(ssl.TLSVersion.TLSv1_3))
client.send(b"\x20\0\0\0\x03SELECT")
try:
    client.tls.unwrap()
except ssl.SSLWantReadError:
    client.flush()
print("close_notify in the middle of a command:", client.is_closed())

client = logged_in(context(ssl.TLSVersion.TLSv1_3))
client.send(b"\x20\0\0\0\x03SELECT")
client.socket.shutdown(socket.SHUT_WR)
print("end without close_notify:", client.is_closed())

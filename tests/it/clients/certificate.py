"""Begins TLS as a client of MySQL does and prints the certificate that is shown, as base64.

HOST PORT"""

import base64
import socket
import ssl
import sys

host, port = sys.argv[1:]
stream = socket.create_connection((host, int(port)))
length = int.from_bytes(stream.recv(4, socket.MSG_WAITALL)[:3], "little")
stream.recv(length, socket.MSG_WAITALL)
stream.sendall(bytes([32, 0, 0, 1]) + (0x8A00).to_bytes(4, "little") + bytes(28))
context = ssl.create_default_context()
context.check_hostname = False
context.verify_mode = ssl.CERT_NONE
with context.wrap_socket(stream) as secured:
    print(base64.b64encode(secured.getpeercert(binary_form=True)).decode())

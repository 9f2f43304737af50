"""Logs in once for each argument PORT:USER:PASSWORD:PLUGIN:WAY, and prints a line each: who the server says it is, or
the error's number and words. PLUGIN is the one that the client opens with, WAY is `tls` or `clear`.

HOST CELL..."""

import ssl
import sys

import pymysql
from pymysql.connections import Connection

context = ssl.create_default_context()
context.check_hostname = False
context.verify_mode = ssl.CERT_NONE


# Capabilities, packet size, character set and filler: what stands before the user's name, and all of a wish for TLS.
LOGIN_HEAD = 32
NAMED_BY_ITSELF = ("mysql_native_password", "caching_sha2_password", "sha256_password")


class Client(Connection):
    plugin = ""
    has_logged_in = False

    def _get_server_information(self):
        super()._get_server_information()
        self._auth_plugin_name = self.plugin

    def write_packet(self, payload):
        # Of the plugins that it knows, it says the names of three only: the others are put where theirs would stand.
        is_login = len(payload) > LOGIN_HEAD and not self.has_logged_in
        if is_login and self.plugin not in NAMED_BY_ITSELF:
            place = LOGIN_HEAD + len(self.user) + len(b"\0\0")
            payload = payload[:place] + self.plugin.encode() + payload[place:]
        self.has_logged_in = self.has_logged_in or is_login
        super().write_packet(payload)


def attempt(host, port, user, password, plugin, way):
    client = Client(
        host=host,
        port=int(port),
        user=user,
        password=password,
        ssl=context if way == "tls" else None,
        ssl_disabled=way != "tls",
        defer_connect=True,
    )
    client.plugin = plugin
    client.connect()
    with client.cursor() as cursor:
        cursor.execute("SELECT CURRENT_USER()")
        ((user,),) = cursor.fetchall()
    client.close()
    return user


host, *cells = sys.argv[1:]
for cell in cells:
    try:
        print(attempt(host, *cell.split(":")))
    except pymysql.err.MySQLError as error:
        print("ERROR", *error.args)

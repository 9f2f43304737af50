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


class Client(Connection):
    plugin = ""

    def _get_server_information(self):
        super()._get_server_information()
        self._auth_plugin_name = self.plugin


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

"""Logs in inside each version of TLS; prints the version and the length of a long value.

HOST PORT USER PASSWORD"""

import ssl
import sys

import pymysql

host, port, user, password = sys.argv[1:]
for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = context.maximum_version = version
    connection = pymysql.connect(host=host, port=int(port), user=user, password=password, ssl=context)
    with connection.cursor() as cursor:
        cursor.execute("SELECT REPEAT('z', 3000000)")
        ((value,),) = cursor.fetchall()
    print(connection._sock.version(), len(value))
    connection.close()

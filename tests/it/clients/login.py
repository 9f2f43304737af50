#!/usr/bin/env python3
"""Logs in as app/app with a driver and prints the error that it raises, as an application would show it.

login.py DRIVER HOST PORT
"""
import importlib
import sys

DRIVER, HOST, PORT = sys.argv[1:]
module = importlib.import_module({"mysqlclient": "MySQLdb"}.get(DRIVER, DRIVER))
try:
    module.connect(host=HOST, port=int(PORT), user="app", password="app")
    print("logged in")
except module.Error as error:
    print(error)

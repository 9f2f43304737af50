#!/usr/bin/env python3
"""What an application does with a driver, as lines that must be the same directly and through a balancer.

drivers.py DRIVER HOST PORT USER PASSWORD DATABASE

DRIVER: pymysql, connector (mysql-connector-python), mysqlclient, mariadb, aiomysql, asyncmy. DATABASE exists and is empty.
"""
import asyncio
import importlib
import sys

DRIVER, HOST, PORT, USER, PASSWORD, DATABASE = sys.argv[1:]
PORT = int(PORT)
BIG = "b" * 300_000


def show(what, value):
    print(f"{what}: {value!r:.400}", flush=True)


def error_of(error):
    """The server's code and text, which every driver keeps, in one form or another, first in args."""
    code = getattr(error, "errno", None) or (error.args[0] if error.args else None)
    return type(error).__name__, code


def connect_blocking():
    module = importlib.import_module({"connector": "mysql.connector", "mysqlclient": "MySQLdb"}.get(DRIVER, DRIVER))
    options = {"host": HOST, "port": PORT, "user": USER, "password": PASSWORD, "database": DATABASE}
    if DRIVER == "pymysql":
        options |= {"client_flag": 1 << 16, "local_infile": True}
    if DRIVER == "mysqlclient":
        options |= {"charset": "utf8mb4"}
    if DRIVER == "connector":
        # This driver tries TLS first and falls back to a second connection; one connection is what is compared.
        options |= {"use_pure": True, "ssl_disabled": True}
    return module, module.connect(**options)


def blocking():
    module, connection = connect_blocking()
    mark = "?" if DRIVER == "mariadb" else "%s"
    cursor = connection.cursor()

    cursor.execute("SELECT CURRENT_USER(), DATABASE(), @@port")
    show("who", cursor.fetchone())
    cursor.execute("CREATE TABLE t (id INT AUTO_INCREMENT PRIMARY KEY, name VARCHAR(50), amount DECIMAL(10,2), made DATETIME, body LONGTEXT) CHARSET utf8mb4")
    cursor.execute(f"INSERT INTO t (name, amount, made, body) VALUES ({mark}, {mark}, {mark}, {mark})", ("Zoë ☃", "12.50", "2020-02-29 12:00:00", BIG))
    show("inserted", (cursor.rowcount, cursor.lastrowid))
    cursor.executemany(f"INSERT INTO t (name, amount) VALUES ({mark}, {mark})", [(f"n{i}", str(i)) for i in range(50)] + [(None, None)])
    show("many", cursor.rowcount)
    connection.commit()
    cursor.execute(f"SELECT id, name, amount, made, LENGTH(body), SHA2(body, 256) FROM t WHERE id < {mark} OR name IS NULL ORDER BY id", (5,))
    show("description", [(column[0], column[1]) for column in cursor.description])
    show("rows", cursor.fetchall())
    cursor.execute("SELECT body FROM t WHERE id = 1")
    show("big", cursor.fetchone()[0] == BIG)

    cursor.execute("UPDATE t SET amount = 0")
    connection.rollback()
    cursor.execute("SELECT SUM(amount) FROM t")
    show("rolled back", cursor.fetchone())

    for statement in ("SELECT * FROM missing", "SELEKT 1", "INSERT INTO t (id) VALUES (1)"):
        try:
            cursor.execute(statement)
            show("no error", statement)
        except module.Error as error:
            show("error", error_of(error))
    connection.rollback()

    cursor.execute("CREATE PROCEDURE two_results() BEGIN SELECT 1, 'one'; SELECT 2 UNION SELECT 3; END")
    cursor.callproc("two_results")
    if DRIVER == "connector":
        show("call", [result.fetchall() for result in cursor.stored_results()])
    else:
        results = [cursor.fetchall()]
        while cursor.nextset():
            if cursor.description:
                results.append(cursor.fetchall())
        show("call", results)
    cursor.close()

    cursor = connection.cursor()
    cursor.execute("SELECT seq.n FROM (WITH RECURSIVE seq AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM seq WHERE n < 900) SELECT n FROM seq) seq")
    show("long result", sum(row[0] for row in cursor.fetchall()))
    if DRIVER == "connector":
        prepared = connection.cursor(prepared=True)
        for number in (1, 2, 3):
            prepared.execute("SELECT id, name FROM t WHERE id = %s", (number,))
            show("prepared", prepared.fetchall())
        prepared.close()
    connection.ping()
    cursor.execute("SET @kept = 41")
    cursor.execute("SELECT @kept + 1")
    show("variable", cursor.fetchone())
    if DRIVER == "connector":
        connection.cmd_change_user(USER, PASSWORD, DATABASE)
        cursor = connection.cursor()
        cursor.execute("SELECT @kept, DATABASE()")
        show("changed user", cursor.fetchone())
        connection.reset_session()
    connection.close()

    # Wrong passwords, as the application would see them.
    try:
        if DRIVER == "connector":
            module.connect(host=HOST, port=PORT, user=USER, password="wrong", use_pure=True, ssl_disabled=True)
        else:
            module.connect(host=HOST, port=PORT, user=USER, password="wrong")
        show("wrong password", "accepted")
    except module.Error as error:
        show("wrong password", error_of(error))


async def non_blocking():
    module = importlib.import_module(DRIVER)
    pool = await module.create_pool(minsize=1, maxsize=3, host=HOST, port=PORT, user=USER, password=PASSWORD, db=DATABASE, autocommit=False)

    async def work(number):
        async with pool.acquire() as connection:
            async with connection.cursor() as cursor:
                await cursor.execute("SELECT %s, DATABASE(), REPEAT('x', 70000)", (number,))
                row = await cursor.fetchone()
                return row[0], row[1], len(row[2])

    async with pool.acquire() as connection:
        async with connection.cursor() as cursor:
            await cursor.execute("CREATE TABLE t (id INT AUTO_INCREMENT PRIMARY KEY, name VARCHAR(50), body LONGTEXT) CHARSET utf8mb4")
            await cursor.execute("INSERT INTO t (name, body) VALUES (%s, %s)", ("Zoë ☃", BIG))
            show("inserted", (cursor.rowcount, cursor.lastrowid))
            await cursor.executemany("INSERT INTO t (name) VALUES (%s)", [(f"n{i}",) for i in range(20)])
            await connection.commit()
            await cursor.execute("SELECT id, name, SHA2(body, 256) FROM t WHERE id < 4 ORDER BY id")
            show("rows", await cursor.fetchall())
            try:
                await cursor.execute("SELECT * FROM missing")
            except Exception as error:
                show("error", error_of(error))
            await cursor.execute("DELETE FROM t")
            await connection.rollback()
            await cursor.execute("SELECT COUNT(*) FROM t")
            show("rolled back", await cursor.fetchone())
    show("together", sorted(await asyncio.gather(*(work(number) for number in range(12)))))
    pool.close()
    await pool.wait_closed()


if DRIVER in ("aiomysql", "asyncmy"):
    asyncio.run(non_blocking())
else:
    blocking()

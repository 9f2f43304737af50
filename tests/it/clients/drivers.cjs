// What an application does with a Node driver, as lines that must be the same directly and through a balancer.
//
// drivers.cjs DRIVER HOST PORT USER PASSWORD DATABASE
//
// DRIVER: mysql2, mariadb. DATABASE exists and is empty. DRIVERS names the folder whose node_modules hold the drivers.
const { createRequire } = require('module');
const load = createRequire(process.env.DRIVERS);
const [driver, host, port, user, password, database] = process.argv.slice(2);
const big = 'b'.repeat(300000);

function show(what, value) {
  const text = JSON.stringify(value, (key, item) => (typeof item === 'bigint' ? Number(item) : item));
  console.log(`${what}: ${String(text).slice(0, 400)}`);
}

// Both drivers behind the same four verbs.
const drivers = {
  mysql2: {
    connect: (options) => load('mysql2/promise').createConnection({ ...options, multipleStatements: true }),
    query: async (connection, sql, values) => (await connection.query(sql, values))[0],
    prepared: async (connection, sql, values) => (await connection.execute(sql, values))[0],
    changeUser: (connection, options) => connection.changeUser(options),
  },
  mariadb: {
    connect: (options) => load('mariadb').createConnection({ ...options, multipleStatements: true, allowPublicKeyRetrieval: true, bulk: true }),
    query: (connection, sql, values) => connection.query(sql, values),
    prepared: (connection, sql, values) => connection.execute(sql, values),
    changeUser: (connection, options) => connection.changeUser(options),
  },
};

async function main() {
  const use = drivers[driver];
  const options = { host, port: Number(port), user, password, database };
  const connection = await use.connect(options);
  const query = (sql, values) => use.query(connection, sql, values);

  show('who', await query('SELECT CURRENT_USER() AS u, DATABASE() AS d, @@port AS p'));
  await query('CREATE TABLE t (id INT AUTO_INCREMENT PRIMARY KEY, name VARCHAR(50), amount DECIMAL(10,2), body LONGTEXT) CHARSET utf8mb4');
  const inserted = await query('INSERT INTO t (name, amount, body) VALUES (?, ?, ?)', ['Zoë ☃', '12.50', big]);
  show('inserted', [inserted.affectedRows, inserted.insertId]);
  if (driver === 'mariadb') {
    const bulk = await connection.batch('INSERT INTO t (name, amount) VALUES (?, ?)', Array.from({ length: 50 }, (_, i) => [`n${i}`, i]));
    show('batch', bulk.affectedRows ?? bulk.length);
  }
  show('rows', await query('SELECT id, name, amount, SHA2(body, 256) AS m FROM t WHERE id < 4 ORDER BY id'));
  show('big', (await query('SELECT body FROM t WHERE id = 1'))[0].body === big);
  show('several', await query("SELECT 1 AS a; SELECT 'two' AS b; DO 1"));

  await connection.beginTransaction();
  await query('DELETE FROM t');
  await connection.rollback();
  show('rolled back', (await query('SELECT COUNT(*) AS n FROM t'))[0].n);

  for (const number of [1, 2, 1]) show('prepared', await use.prepared(connection, 'SELECT id, name, amount FROM t WHERE id = ?', [number]));
  for (const statement of ['SELECT * FROM missing', 'SELEKT 1', 'INSERT INTO t (id) VALUES (1)']) {
    try {
      await query(statement);
      show('no error', statement);
    } catch (error) {
      show('error', [error.errno, error.sqlState]);
    }
  }
  // Sent without waiting for the answers before.
  show('pipelined', await Promise.all([1, 2, 3, 4, 5].map((n) => query('SELECT ? AS n, REPEAT(?, 20000) AS r', [n, 'x']).then((rows) => [rows[0].n, rows[0].r.length]))));
  await query('SET @kept = 41');
  show('variable', await query('SELECT @kept + 1 AS v'));
  try {
    await use.changeUser(connection, { user, password, database });
    show('changed user', await query('SELECT @kept AS v, DATABASE() AS d'));
  } catch (error) {
    // The MariaDB driver refuses to do this with a MySQL server.
    show('changed user', [error.errno, error.sqlState]);
  }
  if (driver === 'mariadb') await connection.reset();
  await connection.ping();
  await connection.end();

  try {
    await use.connect({ ...options, password: 'wrong' });
    show('wrong password', 'accepted');
  } catch (error) {
    show('wrong password', [error.errno, error.sqlState]);
  }
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});

// Logs in as app/app with a driver and prints the error that it raises, as an application would show it.
//
// login.cjs DRIVER HOST PORT
//
// DRIVER: mysql2, mariadb. DRIVERS names the folder whose node_modules hold the drivers.
const { createRequire } = require('module');
const load = createRequire(process.env.DRIVERS);
const [driver, host, port] = process.argv.slice(2);
const { createConnection } = load(driver === 'mysql2' ? 'mysql2/promise' : driver);

createConnection({ host, port: Number(port), user: 'app', password: 'app' })
  .then((connection) => {
    console.log('logged in');
    return connection.end();
  })
  .catch((error) => console.log(error.message));

// Logs in as app/app with MariaDB's connector, which goes where `redirect_url` sends it, and prints where it is then.
//
// redirect.cjs HOST PORT
//
// DRIVERS names the folder whose node_modules hold the drivers.
const { createRequire } = require('module');
const load = createRequire(process.env.DRIVERS);
const [host, port] = process.argv.slice(2);

// The public connection does not tell its address; the one below does.
const Connection = load('mariadb/lib/connection.js');
const Options = load('mariadb/lib/config/connection-options.js');
const connection = new Connection(new Options({ host, port: Number(port), user: 'app', password: 'app', permitRedirect: true }));

connection.connect()
  .then(() => {
    console.log(`connected to ${connection.opts.host}:${connection.opts.port}`);
    process.exit(0);
  })
  .catch((error) => {
    console.log(error.message);
    process.exit(1);
  });

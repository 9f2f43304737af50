'use strict';
// Asks the API once a second and shows the answer. All text goes in as text, never as markup.

const PERIOD_MS = 1000;
const SESSIONS_SHOWN = 200;
const ABSENT = '–';

// Building: element('td', {class: 'number'}, '12').
function element(tag, attributes, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return made;
}

// Makes `shown` like `wanted` with as few changes as possible: focus, selection and what a reader hears stay.
function become(shown, wanted) {
  if (shown.nodeType !== wanted.nodeType || shown.nodeName !== wanted.nodeName) return shown.replaceWith(wanted);
  if (shown.nodeType === Node.TEXT_NODE) {
    if (shown.data !== wanted.data) shown.data = wanted.data;
    return;
  }
  for (const { name } of [...shown.attributes]) if (!wanted.hasAttribute(name)) shown.removeAttribute(name);
  for (const { name, value } of wanted.attributes) if (shown.getAttribute(name) !== value) shown.setAttribute(name, value);
  fill(shown, [...wanted.childNodes]);
}

function fill(parent, wanted) {
  while (parent.childNodes.length > wanted.length) parent.lastChild.remove();
  const shown = [...parent.childNodes];
  wanted.forEach((child, place) => (place < shown.length ? become(shown[place], child) : parent.append(child)));
}

function show(id, ...children) {
  const nodes = children.flat().filter(Boolean).map((child) => (child.nodeType ? child : document.createTextNode(child)));
  fill(document.getElementById(id), nodes);
}

// A table whose rows are lists of cells; on a phone each cell stands behind its column's name.
function table(caption, columns, rows) {
  const head = columns.map(([name, kind]) => element('th', { scope: 'col', class: kind ?? '' }, name));
  const cell = (content, place) => {
    const [name, kind] = columns[place];
    const isEmpty = content === ABSENT || content === '';
    const attributes = { 'data-label': name, class: `${kind ?? ''}${isEmpty ? ' empty' : ''}` };
    return place === 0 ? element('th', { ...attributes, scope: 'row' }, content) : element('td', attributes, content);
  };
  const body = rows.map((row) => element('tr', {}, row.map(cell)));
  return element('table', {}, element('caption', {}, caption), element('thead', {}, element('tr', {}, head)), element('tbody', {}, body));
}

// Words for numbers.
function time(seconds) {
  if (seconds === null || seconds === undefined) return ABSENT;
  if (seconds === 0) return '0 s';
  if (seconds < 0.001) return `${Math.round(seconds * 1e6)} µs`;
  if (seconds < 1) return `${(seconds * 1000).toPrecision(3)} ms`;
  return `${seconds.toFixed(seconds < 10 ? 2 : 1)} s`;
}

function age(seconds) {
  const units = [['d', 86400], ['h', 3600], ['m', 60], ['s', 1]];
  const first = units.findIndex(([, size]) => seconds >= size);
  if (first < 0) return '0s';
  const [name, size] = units[first];
  const rest = units[first + 1];
  const more = rest ? ` ${Math.floor((seconds % size) / rest[1])}${rest[0]}` : '';
  return `${Math.floor(seconds / size)}${name}${more}`;
}

const count = (number) => number.toLocaleString('en');
const rate = (replies) => (replies ? replies.count / replies.seconds : 0);
const counted = (number, noun) => `${count(number)} ${noun}${number === 1 ? '' : 's'}`;
const perSecond = (number) => (number < 10 ? number.toFixed(1) : count(Math.round(number)));

// A word with a sign before it, so that colour is not all that tells.
const SIGNS = { good: '●', warn: '▲', bad: '✕' };
const mark = (kind, word) => element('span', { class: kind }, `${SIGNS[kind]} ${word}`);

function state(server) {
  if (server.service && server.service !== 'in use') return mark('warn', server.service);
  if (server.state !== 'up') return mark(server.state === 'down' ? 'bad' : 'warn', server.state);
  return server.fitness === 'fit' ? mark('good', 'up') : mark('warn', `up, ${server.fitness}`);
}

function connections(server) {
  const extra = [[server.resting, 'resting'], [server.waiting, 'waiting']].filter(([number]) => number > 0);
  const words = extra.map(([number, word]) => `${count(number)} ${word}`).join(', ');
  const of = server.max_connections === null ? '' : ` of ${count(server.max_connections)}`;
  const text = `${count(server.connections)}${of}${words ? ` (${words})` : ''}`;
  if (server.max_connections === null) return text;
  return [text, element('progress', { max: server.max_connections, value: server.connections, 'aria-label': `connections of ${server.name}` })];
}

const SERVER_COLUMNS = [['Server'], ['Role'], ['State'], ['Connections'], ['Lag', 'number'], ['Replies/s', 'number'],
  ['p50', 'number'], ['p95', 'number'], ['p99', 'number'], ['Since', 'number'], ['Why']];

function serverRow(server) {
  const replies = server.replies;
  return [element('span', { title: server.address }, server.name), server.role, state(server), connections(server), time(server.lag_seconds),
    replies ? perSecond(rate(replies)) : ABSENT, time(replies?.p50_seconds), time(replies?.p95_seconds), time(replies?.p99_seconds),
    age(server.since_seconds), server.reason];
}

function cluster(shown) {
  const situation = shown.situation ? `, ${shown.situation}` : '';
  return element('section', { 'aria-label': `cluster ${shown.name}` }, element('h2', {}, `Cluster ${shown.name}`),
    table(`${shown.topology}${situation}; times of replies in the last minute`, SERVER_COLUMNS, shown.servers.map(serverRow)));
}

function alarms(status) {
  const lines = status.clusters.flatMap((cluster) => [
    ...cluster.servers.filter((server) => server.state === 'down').map((server) => ['alarm', `${cluster.name}: ${server.name} is down: ${server.reason}`]),
    ...cluster.alarms.map((line) => ['alarm', `${cluster.name}: ${line}`]),
    ...cluster.advice.map((line) => ['advice', `${cluster.name}: ${line}`]),
  ]);
  const empty = status.pools.filter((pool) => pool.usable.length === 0).map((pool) => ['alarm', `pool ${pool.name}: no server can be used`]);
  return [...lines, ...empty].map(([kind, line]) => element('p', { class: kind }, line));
}

// What is left of the connections that the server had when the drain began is the progress.
function drain(name, server) {
  if (server.service !== 'draining') return null;
  const most = Math.max(server.drain_connections ?? 0, server.connections);
  const gone = most - server.connections;
  const words = `${name}: ${count(gone)} of ${counted(most, 'connection')} gone after ${age(server.drain_seconds ?? 0)}, what stays is ended in ${age(server.drain_seconds_left ?? 0)}`;
  return element('p', {}, words, element('progress', { max: Math.max(most, 1), value: most ? gone : 1, 'aria-label': words }));
}

function drains(status) {
  const bars = status.clusters.flatMap((cluster) => cluster.servers.map((server) => drain(`${cluster.name}/${server.name}`, server)));
  const shown = bars.filter((bar) => bar !== null);
  return shown.length ? [element('h2', {}, 'Drains in progress'), ...shown] : [];
}

function totals(status) {
  const servers = status.clusters.flatMap((cluster) => cluster.servers);
  const up = servers.filter((server) => server.state === 'up').length;
  const { current, max } = status.sessions;
  const waiting = servers.reduce((sum, server) => sum + server.waiting, 0);
  const tile = (value, words) => element('div', {}, element('b', {}, value), words);
  return [
    tile(count(current), `${current === 1 ? 'session' : 'sessions'} of ${count(max)}`),
    tile(perSecond(servers.reduce((sum, server) => sum + rate(server.replies), 0)), 'replies a second'),
    tile(`${up} of ${servers.length}`, 'servers up'),
    tile(count(waiting), waiting === 1 ? 'session waits' : 'sessions wait'),
  ];
}

function pools(status) {
  const rows = status.pools.map((pool) => [pool.name, `${pool.role} of ${pool.cluster}`, pool.balance, pool.fallback ?? ABSENT,
    pool.usable.length ? pool.usable.join(', ') : mark('bad', 'none')]);
  return [element('h2', {}, 'Pools'), table('Who may be chosen now', [['Pool'], ['Servers'], ['Balance'], ['Fallback'], ['Usable']], rows)];
}

function successions(status) {
  if (!status.successions.length) return [];
  const rows = [...status.successions].reverse().map((change) => [`${change.cluster}: ${change.from} → ${change.to}`,
    `${age(change.seconds_ago)} ago`, time(change.detected), time(change.decided), time(change.rerouted), time(change.first_reply)]);
  const columns = [['Change'], ['When'], ['Detected', 'number'], ['Decided', 'number'], ['Rerouted', 'number'], ['First reply', 'number']];
  return [element('h2', {}, 'Changes of primaries'), table('Times count from the old primary’s last good reply', columns, rows)];
}

function split(status) {
  if (!status.split) return [];
  const stayed = Object.entries(status.split.reads_at_primary).sort(([, a], [, b]) => b - a);
  const reads = status.split.reads_at_replicas + stayed.reduce((sum, [, number]) => sum + number, 0);
  const share = reads ? status.split.reads_at_replicas / reads : 0;
  const words = `${(share * 100).toFixed(1)} % of ${counted(reads, 'read')} ran at replicas`;
  return [element('h2', {}, 'Reads of split users'), element('p', {}, words), element('progress', { max: 1, value: share, 'aria-label': words }),
    stayed.length ? table('Reads at the primary, by what kept them there', [['Because of'], ['Reads', 'number']], stayed.map(([why, number]) => [why, count(number)])) : null];
}

const SESSION_COLUMNS = [['Number'], ['User'], ['Address'], ['Server'], ['Replica'], ['Doing'], ['Pins'], ['Commands', 'number'], ['Age', 'number']];

function sessionRows(sessions) {
  const rows = sessions.map((row) => [`${row.id}`, row.user || ABSENT, row.address, row.server ?? ABSENT, row.replica ?? ABSENT, row.state,
    row.pins.length ? row.pins.join(', ') : ABSENT, count(row.commands), age(row.age_seconds)]);
  const pinned = sessions.filter((row) => row.pins.length).length;
  const more = sessions.length === SESSIONS_SHOWN ? ` (the first ${SESSIONS_SHOWN})` : '';
  return table(`${counted(sessions.length, 'session')}${more}, ${count(pinned)} with a reason not to leave their server now`, SESSION_COLUMNS, rows);
}

function shown(status) {
  const { process } = status;
  const phase = process.phase === 'serving' ? '' : `, ${process.phase}`;
  show('process', `${process.version}${phase}, up ${age(process.uptime_seconds)}, ${counted(process.workers, 'worker')}, ${process.engine.split(':')[0]}`);
  show('alarms', alarms(status));
  show('drains', drains(status));
  show('totals', totals(status));
  show('clusters', status.clusters.map(cluster));
  show('pools', pools(status));
  show('successions', successions(status));
  show('split', split(status));
  const down = status.clusters.flatMap((cluster) => cluster.servers).filter((server) => server.state !== 'up').length;
  document.title = down ? `✕ ${down} not up – sqluice` : 'sqluice';
}

async function ask(path) {
  const response = await fetch(path, { signal: AbortSignal.timeout(10 * PERIOD_MS), cache: 'no-store' });
  const body = await response.json();
  if (!response.ok) throw new Error(body.errors.join('; '));
  return body;
}

let lastAnswer = null;

function freshness(problem) {
  const place = document.getElementById('freshness');
  place.classList.toggle('stale', problem !== null);
  const since = lastAnswer === null ? '' : ` (last answer ${age(Math.round((Date.now() - lastAnswer) / 1000))} ago)`;
  show('freshness', problem === null ? 'live' : `no answer: ${problem}${since}`);
}

async function turn() {
  try {
    shown(await ask('v1/status'));
    const details = document.getElementById('sessions');
    if (details.open) show('session-rows', sessionRows(await ask(`v1/sessions?limit=${SESSIONS_SHOWN}`)));
    lastAnswer = Date.now();
    freshness(null);
  } catch (problem) {
    freshness(problem.message);
  }
  // What is open is kept in the address, so that a page can be asked for with its sessions.
  setTimeout(turn, PERIOD_MS);
}

const details = document.getElementById('sessions');
details.open = location.hash === '#sessions';
details.addEventListener('toggle', () => history.replaceState(null, '', details.open ? '#sessions' : location.pathname));
turn();

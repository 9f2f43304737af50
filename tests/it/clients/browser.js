// A browser for a test, told what to do in lines of JSON on stdin, one answer a line on stdout.
//
//   {"open": URL, "width": 1280, "height": 900, "scheme": "light"}   a new page with that window and colour scheme
//   {"until": EXPRESSION}     waits until the expression is true in the page, and gives its value
//   {"screenshot": FILE}      the whole page as PNG
//   {"requests": true}        every address that the pages asked for so far
//   {"complaints": true}      what the pages wrote to the console as an error, or threw
//
// The browser is Debian's, spoken to over its own debugging pipe: messages end with a NUL.
'use strict';
const { spawn } = require('node:child_process');
const { mkdtempSync, rmSync, writeFileSync } = require('node:fs');
const { createInterface } = require('node:readline');
const { tmpdir } = require('node:os');
const { join } = require('node:path');

const WAIT_MS = 120_000;
const profile = mkdtempSync(join(tmpdir(), 'sqluice-browser-'));
const browser = spawn('chromium-headless-shell', ['--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage', '--hide-scrollbars',
  '--remote-debugging-pipe', `--user-data-dir=${profile}`, 'about:blank'], { stdio: ['ignore', 'ignore', 'ignore', 'pipe', 'pipe'] });
browser.on('error', (error) => fail(`chromium-headless-shell cannot be started (${error.message}); was tests/servers/install run?`));
process.on('exit', () => {
  browser.kill('SIGKILL');
  rmSync(profile, { recursive: true, force: true, maxRetries: 10, retryDelay: 100 });
});

function fail(reason) {
  process.stderr.write(`${reason}\n`);
  process.exit(1);
}

const [, , , toBrowser, fromBrowser] = browser.stdio;
const waiting = new Map();
const requests = [];
const complaints = [];
let numbers = 0;
let unread = '';

fromBrowser.setEncoding('utf8').on('data', (text) => {
  const messages = (unread + text).split('\0');
  unread = messages.pop();
  messages.map((message) => JSON.parse(message)).forEach(heard);
});

function heard({ id, method, params, result, error }) {
  if (method === 'Network.requestWillBeSent') requests.push(params.request.url);
  if (method === 'Runtime.exceptionThrown') complaints.push(params.exceptionDetails.exception?.description ?? params.exceptionDetails.text);
  if (method === 'Log.entryAdded' && params.entry.level === 'error') complaints.push(params.entry.text);
  if (!waiting.has(id)) return;
  const { resolve, reject } = waiting.get(id);
  waiting.delete(id);
  if (error) reject(new Error(error.message));
  else resolve(result);
}

function say(method, params = {}, sessionId) {
  numbers += 1;
  const id = numbers;
  toBrowser.write(`${JSON.stringify({ id, method, params, sessionId })}\0`);
  return new Promise((resolve, reject) => waiting.set(id, { resolve, reject }));
}

let session = null;
const page = (method, params) => say(method, params, session);

async function open({ open: url, width, height, scheme }) {
  const { targetId } = await say('Target.createTarget', { url: 'about:blank' });
  ({ sessionId: session } = await say('Target.attachToTarget', { targetId, flatten: true }));
  for (const domain of ['Page', 'Runtime', 'Network', 'Log']) await page(`${domain}.enable`);
  await page('Emulation.setDeviceMetricsOverride', { width, height, deviceScaleFactor: 1, mobile: width < 600 });
  await page('Emulation.setEmulatedMedia', { features: [{ name: 'prefers-color-scheme', value: scheme }] });
  await page('Page.navigate', { url });
  return null;
}

// Looked at again whenever the page changes, and a few times a second for what is no change of it.
async function until(expression) {
  const watch = `new Promise((resolve, reject) => {
    const look = () => { let value; try { value = (${expression}); } catch { value = false; } if (value) { stop(); resolve(value); } };
    const observer = new MutationObserver(look);
    const timer = setInterval(look, 200);
    const limit = setTimeout(() => { stop(); reject(new Error('never true: ' + ${JSON.stringify(expression)} + ' in: ' + document.body?.innerText)); }, ${WAIT_MS});
    const stop = () => { observer.disconnect(); clearInterval(timer); clearTimeout(limit); };
    observer.observe(document, { subtree: true, childList: true, characterData: true, attributes: true });
    look();
  })`;
  for (;;) {
    try {
      const { result, exceptionDetails } = await page('Runtime.evaluate', { expression: watch, awaitPromise: true, returnByValue: true });
      if (exceptionDetails) fail(exceptionDetails.exception.description);
      return result.value;
    } catch (gone) {
      // The page was still on its way to its address.
      if (!/navigat|destroyed|Cannot find context/i.test(gone.message)) throw gone;
    }
  }
}

async function screenshot(file) {
  const { data } = await page('Page.captureScreenshot', { format: 'png', captureBeyondViewport: true });
  writeFileSync(file, Buffer.from(data, 'base64'));
  return null;
}

async function obey(command) {
  if (command.open) return open(command);
  if (command.until) return until(command.until);
  if (command.screenshot) return screenshot(command.screenshot);
  if (command.requests) return requests;
  if (command.complaints) return complaints;
  return fail(`unknown command ${JSON.stringify(command)}`);
}

(async () => {
  for await (const line of createInterface({ input: process.stdin })) {
    process.stdout.write(`${JSON.stringify(await obey(JSON.parse(line)))}\n`);
  }
  process.exit(0);
})().catch((error) => fail(error.stack));

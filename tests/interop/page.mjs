// Opens the status page of the demo in a browser: narrow and wide, light and dark. The first argument is the binary; a second
// one names a directory that keeps the pictures. The browser is Debian's Chromium, spoken to in its DevTools protocol.

import { spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';

const binary = resolve(process.argv[2]);
const directory = mkdtempSync(join(tmpdir(), 'obo-proxy-page-'));
const pictures = process.argv[3] ? resolve(process.argv[3]) : join(directory, 'pictures');
mkdirSync(pictures, { recursive: true });
const children = [];
process.on('exit', () => {
  for (const child of children) child.kill('SIGKILL');
  rmSync(directory, { recursive: true, force: true });
});
setTimeout(() => {
  console.log('FAIL  everything: not done after two minutes');
  process.exit(1);
}, 120_000).unref();

const free = ['--proxy', '--idp', '--upstream', '--telemetry', '--admin'].flatMap((flag) => [flag, '127.0.0.1:0']);
const demo = start(binary, ['demo', '--json', ...free], 'stdout');
const { proxy, idp, admin } = JSON.parse(await demo.line(/^\{/));
await traffic();

const browser = await connect();
const counts = { passed: 0, failed: 0 };
for (const width of [360, 1280]) {
  for (const scheme of ['light', 'dark']) await check(`${width} px, ${scheme}`, () => look(width, scheme, false));
}
await check('no script, loaded anew', () => look(1280, 'light', true));
// it writes to its profile until it has ended
await browser.close();
console.log(`interop: ${counts.passed} passed, ${counts.failed} failed`);
process.exit(counts.failed === 0 ? 0 : 1);

/** Something of everything for the page to show. */
async function traffic() {
  const get = async (path, user, headers = {}) => {
    const token = user && (await (await fetch(`http://${idp}/demo/token?user=${user}`)).text());
    const authorization = token ? { authorization: `Bearer ${token}` } : {};
    await (await fetch(`http://${proxy}${path}`, { headers: { ...authorization, ...headers } })).text();
  };
  for (let request = 0; request < 20; request += 1) await get('/orders/7', request % 3 ? 'alice' : 'bob');
  for (const user of ['mfa', 'legacy', 'noconsent', 'blocked', 'throttled']) await get('/orders', user);
  await get('/reports', 'alice', { 'x-request-id': '<script>alert(1)</script><img/src=http://192.0.2.1/x>' });
  for (const path of ['/public', '/nowhere', '/orders']) await get(path);
  for (let request = 0; request < 6; request += 1) await get('/orders', 'down');
}

async function look(width, scheme, isScriptless) {
  const { targetId } = await browser.send('Target.createTarget', { url: 'about:blank' });
  const { sessionId } = await browser.send('Target.attachToTarget', { targetId, flatten: true });
  const page = (method, parameters) => browser.send(method, parameters, sessionId);
  const complaints = [];
  const requests = [];
  browser.on(sessionId, {
    'Runtime.consoleAPICalled': ({ type }) => complaints.push(type),
    'Runtime.exceptionThrown': ({ exceptionDetails }) => complaints.push(exceptionDetails.text),
    'Log.entryAdded': ({ entry }) => complaints.push(entry.text),
    'Network.requestWillBeSent': ({ request }) => requests.push(request.url),
    'Page.javascriptDialogOpening': () => complaints.push('a dialog'),
  });
  for (const domain of ['Page', 'Runtime', 'Log', 'Network']) await page(`${domain}.enable`);
  const height = 800;
  await page('Emulation.setDeviceMetricsOverride', { width, height, deviceScaleFactor: 1, mobile: width < 600 });
  await page('Emulation.setEmulatedMedia', { features: [{ name: 'prefers-color-scheme', value: scheme }] });
  await page('Emulation.setScriptExecutionDisabled', { value: isScriptless });
  const loaded = browser.once(sessionId, 'Page.loadEventFired');
  const url = `http://${admin}/${isScriptless ? '?refresh=2' : ''}`;
  await page('Page.navigate', { url });
  await loaded;
  if (isScriptless) await browser.once(sessionId, 'Page.loadEventFired');

  const asked = async (expression) =>
    (await page('Runtime.evaluate', { expression, returnByValue: true })).result.value;
  const overflow = await asked('document.documentElement.scrollWidth - document.documentElement.clientWidth');
  expect(overflow === 0, `the page is ${overflow} px too wide`);
  if (width < 600) {
    const wide = '[...document.querySelectorAll(".box")].filter((box) => box.scrollWidth > box.clientWidth).map((box) => `${box.getAttribute("aria-labelledby")} ${box.scrollWidth} > ${box.clientWidth}`).join(", ")';
    expect((await asked(wide)) === '', `a table does not fold: ${await asked(wide)}`);
  }
  const text = await asked('document.body.innerText');
  for (const word of ['ready', 'interaction_required', 'consent_required', '65001', '<script>alert(1)</script>', 'p95', 'failing']) {
    expect(text.includes(word), `${word} is not on the page`);
  }
  expect((await asked('document.querySelectorAll("script, form, iframe, img").length')) === 0, 'there is more than text');
  const background = await asked('getComputedStyle(document.body).backgroundColor');
  const brightness = Math.max(...background.match(/\d+/g).map(Number));
  expect(scheme === 'dark' ? brightness < 64 : brightness > 192, `${background} is not ${scheme}`);
  const faint = await asked(`(${contrasts})()`);
  expect(faint.length === 0, `too faint: ${faint.join(', ')}`);
  const small = await asked('[...document.querySelectorAll("body *")].filter((e) => parseFloat(getComputedStyle(e).fontSize) < 12).length');
  expect(small === 0, 'text is too small');

  const foreign = requests.filter((url) => !url.startsWith(`http://${admin}/`) && !url.startsWith('data:'));
  expect(foreign.length === 0, `requests to ${foreign.join(', ')}`);
  expect(complaints.length === 0, `the browser complains: ${complaints.join('; ')}`);
  await photograph(page, `${width}-${scheme}${isScriptless ? '-scriptless' : ''}`);
  await browser.send('Target.closeTarget', { targetId });
}

/** The whole page, in pieces that can be looked at. */
async function photograph(page, name) {
  const { width, height } = (await page('Page.getLayoutMetrics')).cssContentSize;
  const piece = 1500;
  for (let y = 0; y < height; y += piece) {
    const clip = { x: 0, y, width, height: Math.min(piece, height - y), scale: 1 };
    const { data } = await page('Page.captureScreenshot', { format: 'png', captureBeyondViewport: true, clip });
    writeFileSync(join(pictures, `${name}-${y / piece + 1}.png`), Buffer.from(data, 'base64'));
  }
}

/** Runs in the page: texts whose contrast is below 4.5 (WCAG 2.2, 1.4.3). */
function contrasts() {
  const parts = (color) => color.match(/[\d.]+/g).map(Number);
  const linear = (part) => (part / 255 <= 0.04045 ? part / 255 / 12.92 : ((part / 255 + 0.055) / 1.055) ** 2.4);
  const luminance = ([r, g, b]) => 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
  const behind = (element) => {
    for (let node = element; node; node = node.parentElement) {
      const color = parts(getComputedStyle(node).backgroundColor);
      if (color.length === 3 || color[3] === 1) return color;
    }
    return [255, 255, 255];
  };
  const faint = new Set();
  for (const element of document.querySelectorAll('body *')) {
    if (![...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim())) continue;
    const [one, other] = [luminance(parts(getComputedStyle(element).color)), luminance(behind(element))];
    const contrast = (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
    if (contrast < 4.5) faint.add(`${element.textContent.trim().slice(0, 20)} ${contrast.toFixed(1)}`);
  }
  return [...faint];
}

function expect(holds, otherwise) {
  if (!holds) throw new Error(otherwise);
}

async function check(what, run) {
  try {
    await run();
    counts.passed += 1;
    console.log(`ok    status page: ${what}`);
  } catch (error) {
    counts.failed += 1;
    console.log(`FAIL  status page: ${what}\n${error.stack}`);
  }
}

/** A child whose lines can be waited for. */
function start(command, parameters, stream) {
  const child = spawn(command, parameters, { stdio: ['ignore', 'pipe', 'pipe'] });
  children.push(child);
  const lines = createInterface({ input: child[stream] });
  child[stream === 'stdout' ? 'stderr' : 'stdout'].resume();
  const ended = new Promise((resolve) => child.on('close', resolve));
  const line = (pattern) =>
    new Promise((resolve, reject) => {
      lines.on('line', (line) => pattern.test(line) && resolve(line));
      child.on('exit', (code) => reject(new Error(`${command} ended: ${code}`)));
      child.on('error', reject);
    });
  return { ended, line };
}

/** A browser of its own, and the one connection to it. */
async function connect() {
  const flags = [
    '--headless=new',
    '--remote-debugging-port=0',
    `--user-data-dir=${join(directory, 'profile')}`,
    '--disable-gpu',
    '--disable-dev-shm-usage',
    '--no-first-run',
    '--disable-background-networking',
    '--disable-component-update',
    // its sandbox does not work as root
    ...(process.getuid() === 0 ? ['--no-sandbox'] : []),
  ];
  const chromium = start('chromium', flags, 'stderr');
  const line = await chromium.line(/DevTools listening on /);
  const socket = new WebSocket(line.split(' on ')[1]);
  await new Promise((resolve, reject) => {
    socket.onopen = resolve;
    socket.onerror = () => reject(new Error('no connection to the browser'));
  });
  const waiting = new Map();
  const listeners = new Map();
  let number = 0;
  socket.onmessage = ({ data }) => {
    const { id, sessionId, method, params, result, error } = JSON.parse(data);
    if (id) {
      const { resolve, reject } = waiting.get(id);
      waiting.delete(id);
      error ? reject(new Error(error.message)) : resolve(result);
    } else {
      for (const handler of listeners.get(`${sessionId} ${method}`) ?? []) handler(params);
    }
  };
  const listen = (sessionId, method, handler) => {
    const key = `${sessionId} ${method}`;
    listeners.set(key, [...(listeners.get(key) ?? []), handler]);
  };
  const send = (method, params = {}, sessionId = undefined) =>
    new Promise((resolve, reject) => {
      number += 1;
      waiting.set(number, { resolve, reject });
      socket.send(JSON.stringify({ id: number, method, params, sessionId }));
    });
  return {
    send,
    close: async () => {
      await send('Browser.close');
      await chromium.ended;
    },
    on: (sessionId, handlers) => {
      for (const [method, handler] of Object.entries(handlers)) listen(sessionId, method, handler);
    },
    once: (sessionId, method) => new Promise((resolve) => listen(sessionId, method, resolve)),
  };
}

// Runs every check; see docs/testing.md. The first argument is the binary.

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';

import { startApi } from './api.mjs';
import { APIS, arrangements } from './arrangements.mjs';
import { checksOf } from './checks.mjs';
import { startIdp } from './idp.mjs';
import { startProxy } from './proxy.mjs';
import { APP, REDIRECT_URI, discovered } from './signin.mjs';

const USERS = {
  alice: { login: 'alice', password: 'wonderland' },
  bob: { login: 'bob', password: 'builder' },
  erin: { login: 'erin', password: 'brockovich' },
  // for these a password is not enough: one is told so in the words of Entra, the other in those of RFC 9470
  carol: { login: 'carol', password: 'christmas', code: '123456', demand: 'claims' },
  dave: { login: 'dave', password: 'jones', code: '654321', demand: 'acr_values' },
};

const giveUp = setTimeout(() => {
  console.log('FAIL  everything: not done after five minutes');
  process.exit(1);
}, 300_000);
giveUp.unref();

const binary = resolve(process.argv[2]);
const directory = mkdtempSync(join(tmpdir(), 'obo-proxy-interop-'));
process.on('exit', () => rmSync(directory, { recursive: true, force: true }));

const all = arrangements(directory);
const app = { ...APP, redirect_uris: [REDIRECT_URI], grant_types: ['authorization_code'], response_types: ['code'] };
const batch = { client_id: 'batch', client_secret: 'nightly', grant_types: ['client_credentials'], redirect_uris: [], response_types: [] };
const clients = () => [app, batch, ...all.map((arrangement) => arrangement.register(arrangement))];
const idp = await startIdp({ accounts: USERS, clients: clients(), apis: APIS });
const server = await discovered(idp.issuer);
const api = await startApi(server, 'backend');
const counts = { passed: 0, failed: 0 };

const running = [];
for (const arrangement of all) {
  const { id, provider, exchange, name } = arrangement;
  const proxy = await startProxy(binary, `
identity_providers:
  idp:
    oidc: { issuer: "${idp.issuer}" }
    client_id: ${id}
    clock_skew: 0s
    resource_metadata: true${provider.replaceAll('\n        ', '\n    ')}
routes:
  orders:
    match: /orders
    require: { scopes: [orders.read] }
    upstream: ${api.url}
    exchange: ${exchange}
`, directory, id);
  running.push({ name, proxy, checks: checksOf({ arrangement, proxy, idp, server, batch, users: USERS, directory }) });
}

for (const { name, checks } of running) await report(name, checks.whileUp);
await idp.stop();
for (const { name, checks } of running) await report(name, checks.whileDown);
await idp.start();
for (const { name, checks } of running) await report(name, checks.whenBack);
idp.renew(clients());
api.forgetKeys();
for (const { name, checks } of running) await report(name, checks.whenRenewed);

api.stop();
await idp.stop();
console.log(`interop: ${counts.passed} passed, ${counts.failed} failed`);
process.exit(counts.failed === 0 ? 0 : 1);

/** Runs checks in their order: a later one may build on an earlier one. */
async function report(name, checks) {
  for (const [what, check] of Object.entries(checks)) {
    try {
      await check();
      counts.passed += 1;
      console.log(`ok    ${name}: ${what}`);
    } catch (error) {
      counts.failed += 1;
      console.log(`FAIL  ${name}: ${what}\n${error.stack}${error.cause ? `\ncause: ${error.cause.stack ?? JSON.stringify(error.cause)}` : ''}`);
    }
  }
}

// What must hold in every arrangement.

import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

import * as oauth from 'oauth4webapi';

import { TWO_FACTORS } from './idp.mjs';
import { APP, PLAIN_HTTP, signIn } from './signin.mjs';
import { until, within } from './within.mjs';

const SCOPE = 'openid orders.read';
/** What introspection calls inactive is not told apart: expired, revoked, or never issued. */
const INACTIVE = 'token_expired';

/**
 * The checks by their names: while the identity provider is up, while it is down, when it is back, and when it has new keys
 * and the proxy new credentials.
 */
export function checksOf({ arrangement, proxy, idp, server, batch, users, directory }) {
  const { id, grant, tokens, actor } = arrangement;
  const orders = `${proxy.url}/orders`;
  const protect = (resource, more) => idp.protect(resource, {
    audience: id,
    scope: 'orders.read orders.write',
    accessTokenFormat: tokens.opaque ? 'opaque' : 'jwt',
    jwt: { sign: { alg: tokens.alg } },
    ...more,
  });
  // two resources more: one whose tokens end at once, one that is somebody else's
  const [brief, other] = [`${proxy.url}/brief`, `${proxy.url}/other`];
  protect(orders);
  protect(brief, { accessTokenTTL: 1 });
  protect(other, { audience: 'somebody-else' });

  /** Everything that must not be seen in a log. */
  const secrets = [];
  const known = (token) => {
    secrets.push(token);
    return token;
  };
  const tokenOf = async (name, { resource = orders, scope = SCOPE, ...more } = {}) =>
    known((await signIn(server, users[name], { resource, scope, ...more })).access_token);
  const call = (token, url = `${orders}/7`) =>
    fetch(url, within({ headers: token ? { authorization: `Bearer ${token}` } : {} }));
  const exchanges = () => idp.issued(id, grant);

  /** What the API saw of a request with that token. */
  const passed = async (token) => {
    const response = await call(token);
    const body = await response.text();
    assert.equal(response.status, 200, body);
    const { claims, token: sent } = JSON.parse(body);
    known(sent.replace('Bearer ', ''));
    return claims;
  };
  /** The refusal of a request with that token, whose challenge a client understands that nobody here wrote. */
  const refused = async (token, status, reason) => {
    const response = await call(token);
    const problem = await response.json();
    assert.deepEqual([response.status, problem.reason], [status, reason]);
    if (!response.headers.has('www-authenticate')) return { problem, response };
    const request = oauth.protectedResourceRequest(token, 'GET', new URL(orders), undefined, undefined, PLAIN_HTTP);
    const error = await request.then(() => assert.fail('no challenge'), (thrown) => thrown);
    assert(error instanceof oauth.WWWAuthenticateChallengeError, error);
    const [challenge, ...more] = error.cause;
    assert.deepEqual([challenge.scheme, more], ['bearer', []]);
    return { problem, response, challenge: challenge.parameters };
  };

  const held = {};
  const whileUp = {
    async 'whoever has no token learns where to get one'() {
      const response = await call(undefined, orders);
      assert.equal(response.status, 401);
      const [, url] = /resource_metadata="([^"]+)"/.exec(response.headers.get('www-authenticate'));
      const described = await fetch(url, within());
      const resource = await oauth.processResourceDiscoveryResponse(new URL(orders), described);
      assert.deepEqual(resource.authorization_servers, [idp.issuer]);
      assert.deepEqual(resource.scopes_supported, ['orders.read']);
      held.brief = await tokenOf('alice', { resource: brief });
    },
    async 'a user who signed in reaches the API with a token of her own for it'() {
      held.alice = await tokenOf('alice');
      const claims = await passed(held.alice);
      assert.equal(claims.sub, 'alice');
      assert.equal(claims.aud, 'backend');
      assert.equal(claims.scope, 'read');
      assert.equal(claims.client_id, id);
      assert.deepEqual(claims.act, actor && { sub: id });
      held.first = claims.jti;
    },
    async 'the next request is answered from the cache'() {
      const before = exchanges();
      assert.equal((await passed(held.alice)).jti, held.first);
      assert.equal(exchanges(), before);
    },
    async 'many at once are one exchange'() {
      const token = await tokenOf('erin');
      const before = exchanges();
      const all = await Promise.all(Array.from({ length: 50 }, () => passed(token)));
      assert.equal(new Set(all.map(({ jti }) => jti)).size, 1);
      assert.equal(exchanges(), before + 1);
    },
    async 'two users never get each other’s tokens'() {
      held.bob = await tokenOf('bob');
      const names = Array.from({ length: 60 }, (_, index) => (index % 2 ? 'alice' : 'bob'));
      const all = await Promise.all(names.map((name) => passed(held[name])));
      assert.deepEqual(all.map(({ sub }) => sub), names);
    },
    async 'a token for somebody else is refused'() {
      const { challenge } = await refused(await tokenOf('alice', { resource: other }), 401, 'wrong_audience');
      assert.equal(challenge.error, 'invalid_token');
    },
    async 'a token that was tampered with is refused'() {
      const parts = held.alice.split('.');
      const changed = (text, index) =>
        `${text.slice(0, index)}${text[index] === 'A' ? 'B' : 'A'}${text.slice(index + 1)}`;
      if (tokens.opaque) {
        await refused(changed(held.alice, 5), 401, INACTIVE);
        return;
      }
      const [head, body, signature] = parts;
      await refused([head, body, changed(signature, 9)].join('.'), 401, 'bad_signature');
      const claims = JSON.parse(Buffer.from(body, 'base64url'));
      const forged = Buffer.from(JSON.stringify({ ...claims, sub: 'bob' })).toString('base64url');
      await refused([head, forged, signature].join('.'), 401, 'bad_signature');
      const none = Buffer.from('{"alg":"none","typ":"at+jwt"}').toString('base64url');
      await refused(`${none}.${body}.${signature}`, 401, 'alg_not_allowed');
    },
    async 'a token whose user granted too little is refused'() {
      const token = await tokenOf('alice', { scope: 'openid orders.write' });
      const { challenge } = await refused(token, 403, 'insufficient_scope');
      assert.equal(challenge.error, 'insufficient_scope');
      assert.equal(challenge.scope, 'orders.read');
    },
    async 'an id_token is refused'() {
      const { id_token: token } = await signIn(server, users.alice, { resource: orders, scope: SCOPE });
      const { response } = await refused(known(token), 401, 'wrong_audience');
      assert.equal(response.headers.get('cache-control'), 'no-store');
    },
    async 'an application’s own token is refused'() {
      const more = { ...PLAIN_HTTP };
      const response = await oauth.clientCredentialsGrantRequest(
        server, batch, oauth.ClientSecretBasic(batch.client_secret), { resource: orders, scope: 'orders.read' }, more,
      );
      const { access_token: token } = await oauth.processClientCredentialsResponse(server, batch, response);
      await refused(known(token), 403, 'app_token_not_allowed');
    },
    async 'a token that is bound to a key is refused'() {
      const dpop = oauth.DPoP(APP, await oauth.generateKeyPair('ES256'));
      await refused(await tokenOf('alice', { dpop }), 401, 'unsupported_cnf');
    },
    // a JWT cannot be revoked
    ...(tokens.opaque && {
      async 'a revoked token is refused'() {
        const token = await tokenOf('alice');
        const response = await oauth.revocationRequest(server, APP, oauth.None(), token, PLAIN_HTTP);
        await oauth.processRevocationResponse(response);
        const { challenge } = await refused(token, 401, INACTIVE);
        assert.equal(challenge.error, 'invalid_token');
      },
    }),
    async 'a demand for claims reaches the client, which satisfies it'() {
      const { challenge, problem } = await refused(await tokenOf('carol'), 401, 'interaction_required');
      assert.equal(challenge.error, 'insufficient_claims');
      assert.equal(challenge.authorization_uri, server.authorization_endpoint);
      assert.equal(challenge.client_id, id);
      const claims = Buffer.from(challenge.claims, 'base64').toString();
      assert.equal(problem.claims, claims);
      const stepped = await passed(await tokenOf('carol', { wishes: { claims } }));
      assert.equal(stepped.sub, 'carol');
    },
    async 'a demand for another sign-in reaches the client, which satisfies it'() {
      const { challenge } = await refused(await tokenOf('dave'), 401, 'interaction_required');
      assert.equal(challenge.error, 'insufficient_user_authentication');
      assert.equal(challenge.max_age, '600');
      const wishes = { acr_values: challenge.acr_values, max_age: challenge.max_age };
      assert.equal(wishes.acr_values, TWO_FACTORS);
      const stepped = await passed(await tokenOf('dave', { wishes }));
      assert.equal(stepped.sub, 'dave');
    },
    async 'an expired token is refused'() {
      const reason = tokens.opaque ? INACTIVE : 'token_expired';
      await until('the token is expired', async () => (await call(held.brief)).status === 401);
      const { challenge } = await refused(held.brief, 401, reason);
      assert.equal(challenge.error, 'invalid_token');
      held.late = await tokenOf('bob', { scope: `${SCOPE} orders.write` });
    },
  };
  const whileDown = {
    async 'without the identity provider, tokens that were exchanged still serve'() {
      assert.equal((await passed(held.alice)).sub, 'alice');
    },
    async 'without the identity provider, new callers are told to come back'() {
      const { response } = await refused(held.late, 503, 'idp_unavailable');
      assert.match(response.headers.get('retry-after'), /^[1-9]\d*$/);
      assert.equal(response.headers.get('www-authenticate'), null);
    },
  };
  const whenBack = {
    async 'when the identity provider is back, so is the proxy'() {
      const response = await until('it answers', async () => {
        const answer = await call(held.late);
        return answer.status !== 503 && answer;
      });
      assert.equal(response.status, 200);
      assert.equal((await response.json()).claims.sub, 'bob');
    },
  };
  const whenRenewed = {
    async 'new keys and a new credential are used without restart'() {
      const before = exchanges();
      assert.equal((await passed(await tokenOf('erin', { scope: `${SCOPE} orders.write` }))).sub, 'erin');
      assert.equal(exchanges(), before + 1);
    },
    ...(!tokens.opaque && {
      async 'a token signed with a withdrawn key is refused'() {
        await refused(held.alice, 401, 'unknown_key');
      },
    }),
    async 'no token and no secret is in its log'() {
      const log = proxy.log();
      assert(secrets.length > 10 && log.includes('"msg":"request"'));
      const file = join(directory, `${id}.secret`);
      if (existsSync(file)) known(readFileSync(file, 'utf8'));
      // of a JWT, claims and signature: many have the same header
      const parts = secrets.flatMap((secret) => (secret.startsWith('ey') ? secret.split('.').slice(1) : [secret]));
      assert.deepEqual(parts.filter((part) => log.includes(part)), []);
    },
    async 'it stops when told to'() {
      assert.equal(await proxy.stop(), 0);
    },
  };
  return { whileUp, whileDown, whenBack, whenRenewed };
}

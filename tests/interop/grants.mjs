// How the identity provider exchanges a token: On-Behalf-Of by jwt-bearer (RFC 7523) and token exchange (RFC 8693). Both refuse
// whatever their RFC lets them refuse.

import { createLocalJWKSet, jwtVerify } from 'jose';
import { errors } from 'oidc-provider';

export const JWT_BEARER = 'urn:ietf:params:oauth:grant-type:jwt-bearer';
export const TOKEN_EXCHANGE = 'urn:ietf:params:oauth:grant-type:token-exchange';
const ACCESS_TOKEN = 'urn:ietf:params:oauth:token-type:access_token';
const JWT = 'urn:ietf:params:oauth:token-type:jwt';

export function registerGrants(provider, { accounts, apis, jwks, generation, twoFactors }) {
  const publicKeys = createLocalJWKSet({ keys: jwks.keys.map(({ d, p, q, dp, dq, qi, ...key }) => key) });

  provider.registerGrantType(JWT_BEARER, async (ctx) => {
    const { assertion, scope, requested_token_use: use } = ctx.oidc.params;
    if (use !== 'on_behalf_of') throw new errors.InvalidRequest('requested_token_use must be on_behalf_of');
    const subject = await subjectOf(ctx, assertion);
    if (isRefused(ctx, subject)) return;
    // the scope names the API: api/permission
    const [api, permission, ...more] = (scope ?? '').split('/');
    if (!permission || more.length > 0) throw new errors.InvalidScope('one scope of one API is needed', scope);
    ctx.body = await issue(ctx, subject, apiNamed(api), permission);
  }, ['assertion', 'scope', 'requested_token_use']);

  const parameters = ['subject_token', 'subject_token_type', 'actor_token', 'actor_token_type', 'requested_token_type'];
  provider.registerGrantType(TOKEN_EXCHANGE, async (ctx) => {
    const { params } = ctx.oidc;
    if (params.subject_token_type !== ACCESS_TOKEN) throw new errors.InvalidRequest('subject_token_type is not supported');
    if (![undefined, ACCESS_TOKEN, JWT].includes(params.requested_token_type)) {
      throw new errors.InvalidRequest('requested_token_type is not supported');
    }
    const subject = await subjectOf(ctx, params.subject_token);
    const actor = await actorOf(ctx);
    if (isRefused(ctx, subject)) return;
    const targets = [params.audience, params.resource].flat().filter((target) => target !== undefined);
    if (targets.length !== 1) throw new errors.InvalidTarget('one audience or resource is needed');
    const body = await issue(ctx, subject, apiNamed(targets[0]), params.scope, actor);
    ctx.body = { ...body, issued_token_type: params.requested_token_type ?? ACCESS_TOKEN };
  }, [...parameters, 'scope', 'audience', 'resource'], ['audience', 'resource']);

  /** Whom a token is of that was issued for the client that asks. */
  async function subjectOf(ctx, token) {
    const { clientId } = ctx.oidc.client;
    if (!token) throw new errors.InvalidRequest('there is no token to exchange');
    if (token.split('.').length === 3) {
      const expected = { issuer: provider.issuer, audience: clientId, typ: 'at+jwt' };
      const { payload } = await jwtVerify(token, publicKeys, expected).catch((error) => {
        throw new errors.InvalidGrant(error.message);
      });
      return { sub: payload.sub, acr: payload.acr };
    }
    const found = await provider.AccessToken.find(token);
    if (!found?.isValid || found.aud !== clientId) throw new errors.InvalidGrant('the token is not for this client');
    return { sub: found.accountId, acr: found.extra.acr };
  }

  /** Who acts for the user, if the client says so: only it can. */
  async function actorOf(ctx) {
    const { actor_token: token, actor_token_type: type } = ctx.oidc.params;
    if (!token && !type) return undefined;
    const found = type === ACCESS_TOKEN && (await provider.ClientCredentials.find(token));
    const isKnown = found && found.extra.generation === generation && found.clientId === ctx.oidc.client.clientId;
    if (!isKnown) throw new errors.InvalidRequest('the actor token is not valid');
    return { sub: found.clientId };
  }

  /** Whether the user must do more than sign in with a password: in the words of Entra, or in those of RFC 9470. */
  function isRefused(ctx, { sub, acr }) {
    const { demand } = accounts[sub] ?? {};
    if (!demand || acr === twoFactors) return false;
    const claims = JSON.stringify({ id_token: { acr: { essential: true, value: twoFactors } } });
    ctx.status = 400;
    ctx.body = {
      claims: { error: 'interaction_required', error_description: 'more\r\nis needed', suberror: 'basic_action', claims },
      acr_values: { error: 'insufficient_user_authentication', acr_values: twoFactors, max_age: 600 },
    }[demand];
    return true;
  }

  function apiNamed(name) {
    const api = apis[name];
    if (!api) throw new errors.InvalidTarget('there is no such API');
    return { name, ...api };
  }

  /** The token of that user for that API. */
  async function issue(ctx, { sub }, { name, alg, audience = name }, scope, actor) {
    const settings = { scope, audience, accessTokenFormat: 'jwt', accessTokenTTL: 300, jwt: { sign: { alg } } };
    const token = new provider.AccessToken({ accountId: sub, client: ctx.oidc.client, scope });
    token.resourceServer = new provider.ResourceServer(name, settings);
    ctx.state.exchanged = { act: actor };
    const value = await token.save();
    return { access_token: value, token_type: 'Bearer', expires_in: token.expiration, scope };
  }
}

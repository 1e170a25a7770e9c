// A client whose user really signs in, in a browser without a screen: authorization code flow with PKCE, by oauth4webapi.

import * as oauth from 'oauth4webapi';

import { within } from './within.mjs';

/** For an identity provider on this machine. */
export const PLAIN_HTTP = { [oauth.allowInsecureRequests]: true };
export const APP = { client_id: 'app', token_endpoint_auth_method: 'none' };
export const REDIRECT_URI = 'http://127.0.0.1/callback';

/** What the identity provider says of itself. */
export async function discovered(issuer) {
  const response = await oauth.discoveryRequest(new URL(issuer), PLAIN_HTTP);
  return oauth.processDiscoveryResponse(new URL(issuer), response);
}

/**
 * The tokens that a user gets for a resource. `wishes` are further parameters, such as `acr_values`; `dpop` binds them to a key.
 */
export async function signIn(server, user, { resource, scope, wishes = {}, dpop }) {
  const verifier = oauth.generateRandomCodeVerifier();
  const state = oauth.generateRandomState();
  const url = new URL(server.authorization_endpoint);
  url.search = new URLSearchParams({
    client_id: APP.client_id,
    response_type: 'code',
    redirect_uri: REDIRECT_URI,
    code_challenge: await oauth.calculatePKCECodeChallenge(verifier),
    code_challenge_method: 'S256',
    state,
    scope,
    resource,
    ...wishes,
  });
  const callback = oauth.validateAuthResponse(server, APP, await browse(url, user), state);
  const more = { ...PLAIN_HTTP, DPoP: dpop, additionalParameters: { resource } };
  const response = await oauth.authorizationCodeGrantRequest(
    server, APP, oauth.None(), callback, REDIRECT_URI, verifier, more,
  );
  return oauth.processAuthorizationCodeResponse(server, APP, response);
}

/** Follows redirects and fills in forms until the client's own page is reached: that page's URL. */
async function browse(start, user) {
  const cookies = new Map();
  let next = { url: start };
  for (let step = 0; step < 20; step += 1) {
    const { url, form } = next;
    if (url.href.startsWith(REDIRECT_URI)) return url;
    const cookie = [...cookies].map(([name, value]) => `${name}=${value}`).join('; ');
    const method = form ? 'POST' : 'GET';
    const response = await fetch(url, within({ method, body: form, headers: { cookie }, redirect: 'manual' }));
    for (const line of response.headers.getSetCookie()) {
      const [, name, value] = /^([^=]+)=([^;]*)/.exec(line);
      cookies.set(name, value);
    }
    const page = await response.text();
    if (response.headers.has('location')) {
      next = { url: new URL(response.headers.get('location'), url) };
    } else if (response.ok) {
      next = filledIn(page, url, user);
    } else {
      throw new Error(`${url.pathname} answers ${response.status}: ${page}`);
    }
  }
  throw new Error('the sign-in does not come to an end');
}

/** What the user sends from a page. */
function filledIn(page, url, user) {
  const action = /<form[^>]* action="([^"]*)"/.exec(page);
  if (!action) throw new Error(`there is no form at ${url.pathname}: ${page}`);
  const form = new URLSearchParams();
  for (const [input] of page.matchAll(/<input[^>]*>/g)) {
    const [, name] = / name="([^"]*)"/.exec(input);
    form.set(name, / value="([^"]*)"/.exec(input)?.[1] ?? user[name]);
  }
  return { url: new URL(action[1], url), form };
}

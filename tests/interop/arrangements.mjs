// How an operator may arrange the proxy with the identity provider: for each, the client as it is registered there, what
// access tokens for it look like, and the provider and the exchange as the proxy's configuration has them.

import { execFileSync } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { JWT_BEARER, TOKEN_EXCHANGE } from './grants.mjs';

/** Every character that HTTP Basic and forms encode in their own ways. */
const SECRET = 'p:w%41 +/=&?#"~';

/** The API by a URI, as RFC 8707 wants to name it. */
const RESOURCE = 'https://backend.example/';

/** What tokens can be exchanged for. */
export const APIS = { backend: { alg: 'ES256' }, [RESOURCE]: { alg: 'ES256', audience: 'backend' } };

/** All of them; secrets and certificates are written to `directory`. */
export function arrangements(directory) {
  const secret = (name, value = SECRET) => {
    const file = join(directory, `${name}.secret`);
    writeFileSync(file, value);
    return `secret: { file: ${file} }`;
  };
  const client = (client_id, grant, more) => ({
    client_id,
    grant_types: [grant, 'client_credentials'],
    redirect_uris: [],
    response_types: [],
    ...more,
  });
  const withSecret = (client_id, grant, token_endpoint_auth_method) =>
    client(client_id, grant, { client_secret: SECRET, token_endpoint_auth_method });
  const withKey = (client_id, grant, alg, certificate) =>
    client(client_id, grant, {
      token_endpoint_auth_method: 'private_key_jwt',
      token_endpoint_auth_signing_alg: alg,
      jwks: { keys: [new X509Certificate(readFileSync(certificate.file)).publicKey.export({ format: 'jwk' })] },
    });
  const rsa = certificate(directory, 'rsa', ['rsa:2048']);
  const ec = certificate(directory, 'ec', ['ec', '-pkeyopt', 'ec_paramgen_curve:P-256']);
  const ed25519 = certificate(directory, 'ed25519', ['ed25519']);

  return [
    {
      name: 'jwt_bearer, secret in the form, RS256',
      client: withSecret('post', JWT_BEARER, 'client_secret_post'),
      grant: JWT_BEARER,
      tokens: { alg: 'RS256' },
      provider: `
        grant: jwt_bearer
        parameters: { requested_token_use: on_behalf_of }
        credential: { ${secret('post')} }`,
      exchange: '{ scopes: [backend/read] }',
    },
    {
      name: 'token_exchange, secret by HTTP Basic, ES256',
      client: withSecret('basic', TOKEN_EXCHANGE, 'client_secret_basic'),
      grant: TOKEN_EXCHANGE,
      tokens: { alg: 'ES256' },
      provider: `
        algorithms: [ES256]
        auth_method: client_secret_basic
        credential: { ${secret('basic')} }`,
      exchange: '{ audience: backend, scopes: [read] }',
    },
    {
      name: 'token_exchange, RSA certificate by PS256, PS256',
      client: withKey('rsa', TOKEN_EXCHANGE, 'PS256', rsa),
      grant: TOKEN_EXCHANGE,
      tokens: { alg: 'PS256' },
      // its RSA key does not say for which algorithm it is
      provider: `
        algorithms: [PS256, ES256]
        credential: { certificate: { file: ${rsa.file}, key: ${rsa.key} } }`,
      exchange: `{ resource: "${RESOURCE}", scopes: [read], requested_token_type: access_token }`,
    },
    {
      name: 'jwt_bearer, EC certificate by ES256, EdDSA',
      client: withKey('ec', JWT_BEARER, 'ES256', ec),
      grant: JWT_BEARER,
      tokens: { alg: 'EdDSA' },
      provider: `
        grant: jwt_bearer
        parameters: { requested_token_use: on_behalf_of }
        credential: { certificate: { file: ${ec.file}, key: ${ec.key}, algorithm: ES256, assertion_audience: token_endpoint } }`,
      exchange: '{ scopes: [backend/read] }',
    },
    {
      name: 'token_exchange of opaque tokens, secret by HTTP Basic',
      client: withSecret('opaque', TOKEN_EXCHANGE, 'client_secret_basic'),
      grant: TOKEN_EXCHANGE,
      tokens: { opaque: true },
      provider: `
        introspection: true
        auth_method: client_secret_basic
        credential: { ${secret('opaque')} }`,
      exchange: '{ audience: backend, scopes: [read] }',
    },
    {
      name: 'token_exchange of opaque tokens, Ed25519 certificate by EdDSA',
      client: withKey('ed25519', TOKEN_EXCHANGE, 'EdDSA', ed25519),
      grant: TOKEN_EXCHANGE,
      tokens: { opaque: true },
      provider: `
        introspection: true
        credential: { certificate: { file: ${ed25519.file}, key: ${ed25519.key}, algorithm: EdDSA } }`,
      exchange: '{ audience: backend, scopes: [read] }',
    },
    {
      name: 'token_exchange with an actor, new secret beside the old one',
      client: withSecret('actor', TOKEN_EXCHANGE, 'client_secret_post'),
      grant: TOKEN_EXCHANGE,
      tokens: { alg: 'RS256' },
      actor: 'actor',
      provider: `
        credential: [{ ${secret('actor-old', 'expired')} }, { ${secret('actor')} }]`,
      exchange: '{ audience: backend, scopes: [read], requested_token_type: jwt, actor: self }',
    },
  ];
}

/** A self-signed certificate and its key, of the given kind. */
function certificate(directory, name, kind) {
  const [file, key] = [join(directory, `${name}.crt`), join(directory, `${name}.key`)];
  const made = ['-x509', '-nodes', '-days', '2', '-subj', `/CN=${name}`, '-keyout', key, '-out', file];
  execFileSync('openssl', ['req', '-newkey', ...kind, ...made], { stdio: 'pipe' });
  return { file, key };
}

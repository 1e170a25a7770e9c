// How an operator may arrange the proxy with the identity provider: for each, how its client is registered there, what access
// tokens for it look like, and the provider and the exchange as the proxy's configuration has them.

import { execFileSync } from 'node:child_process';
import { X509Certificate, randomUUID } from 'node:crypto';
import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { JWT_BEARER, TOKEN_EXCHANGE } from './grants.mjs';

/** The API by a URI, as RFC 8707 wants to name it. */
const RESOURCE = 'https://backend.example/';
/** What tokens can be exchanged for. */
export const APIS = { backend: { alg: 'ES256' }, [RESOURCE]: { alg: 'ES256', audience: 'backend' } };

/** All of them; their credentials are written to `directory`. */
export function arrangements(directory) {
  const path = (name) => join(directory, name);

  return [
    {
      name: 'jwt_bearer, secret in the form, RS256',
      id: 'post',
      grant: JWT_BEARER,
      tokens: { alg: 'RS256' },
      register: withSecret('client_secret_post'),
      provider: `
        grant: jwt_bearer
        parameters: { requested_token_use: on_behalf_of }
        credential: { secret: { file: ${path('post.secret')} } }`,
      exchange: '{ scopes: [backend/read] }',
    },
    {
      name: 'token_exchange, secret by HTTP Basic, ES256',
      id: 'basic',
      grant: TOKEN_EXCHANGE,
      tokens: { alg: 'ES256' },
      register: withSecret('client_secret_basic'),
      provider: `
        algorithms: [ES256]
        auth_method: client_secret_basic
        credential: { secret: { file: ${path('basic.secret')} } }`,
      exchange: '{ audience: backend, scopes: [read] }',
    },
    {
      name: 'token_exchange, RSA certificate by PS256, PS256',
      id: 'rsa',
      grant: TOKEN_EXCHANGE,
      tokens: { alg: 'PS256' },
      register: withCertificate('PS256', ['rsa:2048']),
      // the identity provider's RSA key does not say for which algorithm it is
      provider: `
        algorithms: [PS256, ES256]
        credential: { certificate: { file: ${path('rsa.crt')}, key: ${path('rsa.key')} } }`,
      exchange: `{ resource: "${RESOURCE}", scopes: [read], requested_token_type: access_token }`,
    },
    {
      name: 'jwt_bearer, EC certificate by ES256, EdDSA',
      id: 'ec',
      grant: JWT_BEARER,
      tokens: { alg: 'EdDSA' },
      register: withCertificate('ES256', ['ec', '-pkeyopt', 'ec_paramgen_curve:P-256']),
      provider: `
        grant: jwt_bearer
        parameters: { requested_token_use: on_behalf_of }
        credential:
          certificate: { file: ${path('ec.crt')}, key: ${path('ec.key')}, algorithm: ES256, assertion_audience: token_endpoint }`,
      exchange: '{ scopes: [backend/read] }',
    },
    {
      name: 'token_exchange of opaque tokens, secret by HTTP Basic',
      id: 'opaque',
      grant: TOKEN_EXCHANGE,
      tokens: { opaque: true },
      register: withSecret('client_secret_basic'),
      provider: `
        introspection: true
        auth_method: client_secret_basic
        credential: { secret: { file: ${path('opaque.secret')} } }`,
      exchange: '{ audience: backend, scopes: [read] }',
    },
    {
      name: 'token_exchange of opaque tokens, Ed25519 certificate by EdDSA',
      id: 'ed25519',
      grant: TOKEN_EXCHANGE,
      tokens: { opaque: true },
      register: withCertificate('EdDSA', ['ed25519']),
      provider: `
        introspection: true
        credential: { certificate: { file: ${path('ed25519.crt')}, key: ${path('ed25519.key')}, algorithm: EdDSA } }`,
      exchange: '{ audience: backend, scopes: [read] }',
    },
    {
      name: 'token_exchange with an actor, new secret beside a refused one',
      id: 'actor',
      grant: TOKEN_EXCHANGE,
      tokens: { alg: 'RS256' },
      actor: true,
      register: withSecret('client_secret_post'),
      provider: `
        credential: [{ secret: { value: refused } }, { secret: { file: ${path('actor.secret')} } }]`,
      exchange: '{ audience: backend, scopes: [read], requested_token_type: jwt, actor: self }',
    },
  ];

  /** How a client is registered that has a new secret each time, with every character that HTTP Basic and forms encode. */
  function withSecret(token_endpoint_auth_method) {
    return ({ id, grant }) => {
      const client_secret = `p:w%41 +/=&?#"~${randomUUID()}`;
      replace(path(`${id}.secret`), client_secret);
      return { ...client(id, grant), client_secret, token_endpoint_auth_method };
    };
  }

  /** How a client is registered that has a new self-signed certificate each time, with a key of that kind. */
  function withCertificate(alg, kind) {
    return ({ id, grant }) => {
      const [file, key] = ['new.crt', 'new.key'].map(path);
      const made = ['-x509', '-nodes', '-days', '2', '-subj', `/CN=${id}`, '-keyout', key, '-out', file];
      execFileSync('openssl', ['req', '-newkey', ...kind, ...made], { stdio: 'pipe' });
      const { publicKey } = new X509Certificate(readFileSync(file));
      renameSync(key, path(`${id}.key`));
      renameSync(file, path(`${id}.crt`));
      return {
        ...client(id, grant),
        token_endpoint_auth_method: 'private_key_jwt',
        token_endpoint_auth_signing_alg: alg,
        jwks: { keys: [publicKey.export({ format: 'jwk' })] },
      };
    };
  }
}

function client(client_id, grant) {
  return { client_id, grant_types: [grant, 'client_credentials'], redirect_uris: [], response_types: [] };
}

/** Nobody sees half of it. */
function replace(file, content) {
  writeFileSync(`${file}.new`, content);
  renameSync(`${file}.new`, file);
}

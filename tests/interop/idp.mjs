// A real identity provider, oidc-provider, on a free port of this machine: users sign in, resources have access tokens of
// their own (RFC 8707), and a token is exchanged by the two grants of grants.mjs.

import { generateKeyPairSync } from 'node:crypto';
import { createServer } from 'node:http';
import { once } from 'node:events';

import { Provider, errors } from 'oidc-provider';

import { registerGrants } from './grants.mjs';
import { interact } from './interaction.mjs';

/** What a password is worth, and what a password and a code are. */
export const PASSWORD = 'urn:interop:password';
export const TWO_FACTORS = 'urn:interop:two-factors';

/**
 * Starts it. `accounts` are its users by name, `clients` its clients, `apis` what a token can be exchanged for, by audience.
 */
export async function startIdp({ accounts, clients, apis }) {
  const server = createServer();
  await listen(server, 0);
  const { port } = server.address();
  const resources = new Map();
  const issued = new Map();
  const issuer = `http://127.0.0.1:${port}`;
  let generation = 0;
  renew(clients);

  function configuration(registered, jwks) {
    return {
      clients: registered,
      jwks,
      findAccount: (_ctx, id) => accounts[id] && { accountId: id, claims: () => ({ sub: id }) },
      acrValues: [PASSWORD, TWO_FACTORS],
      clientDefaults: { id_token_signed_response_alg: 'ES256' },
      conformIdTokenClaims: true,
      cookies: { keys: ['only for tests'] },
      enabledJWA: { clientAuthSigningAlgValues: ['RS256', 'PS256', 'ES256', 'EdDSA'] },
      extraTokenClaims: (ctx, { kind }) => {
        if (kind === 'ClientCredentials') return { generation };
        return ctx.state.exchanged ?? signedIn(ctx.oidc.entities.AuthorizationCode);
      },
      features: {
        claimsParameter: { enabled: true },
        clientCredentials: { enabled: true },
        devInteractions: { enabled: false },
        // only a client with a credential may ask about the tokens of others
        introspection: { enabled: true, allowedPolicy: (_ctx, client) => client.clientAuthMethod !== 'none' },
        revocation: { enabled: true, allowedPolicy: (_ctx, client, token) => client.clientId === token.clientId },
        resourceIndicators: {
          enabled: true,
          getResourceServerInfo(_ctx, resource) {
            if (!resources.has(resource)) throw new errors.InvalidTarget();
            return resources.get(resource);
          },
        },
      },
      interactions: { url: (_ctx, interaction) => `/interaction/${interaction.uid}` },
      ttl: {
        AccessToken: (_ctx, token) => token.resourceServer?.accessTokenTTL ?? 3600,
        ClientCredentials: 600,
        Grant: 3600,
        IdToken: 3600,
        Interaction: 600,
        Session: 3600,
      },
    };
  }

  /** From now on there are these clients, all signing keys are others, and clients' own tokens are forgotten. */
  function renew(registered) {
    generation += 1;
    const jwks = { keys: signingKeys(generation) };
    const provider = new Provider(issuer, configuration(registered, jwks));
    provider.on('server_error', (_ctx, error) => console.error('identity provider:', error));
    provider.use(async (ctx, next) => {
      await next();
      const { client, params } = ctx.oidc ?? {};
      if (ctx.status === 200 && params?.grant_type) count(issued, `${client.clientId} ${params.grant_type}`);
    });
    registerGrants(provider, { accounts, apis, jwks, generation, twoFactors: TWO_FACTORS });

    const handle = provider.callback();
    server.removeAllListeners('request');
    server.on('request', (request, response) => {
      const answered = request.url.startsWith('/interaction/')
        ? interact(provider, request, response, { accounts, password: PASSWORD, twoFactors: TWO_FACTORS })
        : handle(request, response);
      answered.catch((error) => response.writeHead(500).end(String(error)));
    });
  }

  return {
    issuer,
    renew,
    /** From now on, tokens can be asked for by this resource indicator. */
    protect: (resource, info) => resources.set(resource, info),
    /** How many tokens a client got by a grant type. */
    issued: (client, grant) => issued.get(`${client} ${grant}`) ?? 0,
    /** Goes down; nothing is forgotten. */
    async stop() {
      const closed = once(server, 'close');
      server.close();
      server.closeAllConnections();
      await closed;
    },
    /** Comes back where it was. */
    start: () => listen(server, port),
  };
}

/** Everything a token says of the sign-in it goes back to. */
function signedIn(code) {
  return code && { acr: code.acr, auth_time: code.authTime, sid: code.sessionUid };
}

function count(counts, key) {
  counts.set(key, (counts.get(key) ?? 0) + 1);
}

async function listen(server, port) {
  server.listen(port, '127.0.0.1');
  await once(server, 'listening');
}

function signingKeys(generation) {
  const kinds = [
    ['rsa', { modulusLength: 2048 }],
    ['ec', { namedCurve: 'P-256' }],
    ['ed25519', {}],
  ];
  return kinds.map(([kind, options]) => {
    const { privateKey } = generateKeyPairSync(kind, options);
    return { ...privateKey.export({ format: 'jwk' }), kid: `${kind}-${generation}`, use: 'sig' };
  });
}

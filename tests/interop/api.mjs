// The API behind the proxy: it lets in whoever has an access token of the identity provider for it, and says what it saw.

import { once } from 'node:events';
import { createServer } from 'node:http';

import * as oauth from 'oauth4webapi';

import { PLAIN_HTTP } from './signin.mjs';

/** Starts it on a free port, with the audience that its tokens must have. */
export async function startApi(server, audience) {
  const api = createServer((request, response) => {
    answer(request).then(
      (seen) => response.setHeader('content-type', 'application/json').end(JSON.stringify(seen)),
      // not 401: it would be taken for a demand
      (error) => response.writeHead(418).end(String(error)),
    );
  });
  let known = server;
  async function answer({ method, url, headers }) {
    const request = new Request(new URL(url, 'http://api.example'), { method, headers: { authorization: headers.authorization ?? '' } });
    const claims = await oauth.validateJwtAccessToken(known, request, audience, PLAIN_HTTP);
    return { claims, token: headers.authorization };
  }
  api.listen(0, '127.0.0.1');
  await once(api, 'listening');
  return {
    url: `http://127.0.0.1:${api.address().port}`,
    /** Forgets the keys it knows, which it would only do after a while. */
    forgetKeys() {
      known = { ...server };
    },
    stop() {
      api.close();
      api.closeAllConnections();
    },
  };
}

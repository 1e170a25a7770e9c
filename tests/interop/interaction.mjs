// The pages a user sees at the identity provider: signing in with a password, and a code where the client wants two factors;
// then consenting to what the client asks for.

import { text } from 'node:stream/consumers';

/** Shows the page that is due, or takes what was filled in. */
export async function interact(provider, request, response, { accounts, password, twoFactors }) {
  const interaction = await provider.interactionDetails(request, response);
  const { prompt, params } = interaction;
  const asksForCode = [params.acr_values, params.claims].some((wish) => wish?.includes(twoFactors));
  if (request.method === 'GET') {
    const fields = prompt.name === 'login' ? ['login', 'password', ...(asksForCode ? ['code'] : [])] : [];
    response.setHeader('content-type', 'text/html; charset=utf-8');
    response.end(page(request.url, prompt.name, fields));
    return;
  }
  const form = new URLSearchParams(await text(request));
  if (form.get('prompt') !== prompt.name) {
    response.writeHead(400).end('another page is due');
    return;
  }
  if (prompt.name === 'consent') {
    await finish({ consent: { grantId: await granted(provider, interaction) } });
    return;
  }
  const account = accounts[form.get('login')];
  if (!account || account.password !== form.get('password')) {
    response.writeHead(403).end('wrong user or password');
    return;
  }
  const isSure = form.has('code') && form.get('code') === account.code;
  await finish({ login: { accountId: form.get('login'), acr: isSure ? twoFactors : password } });

  function finish(result) {
    return provider.interactionFinished(request, response, result, { mergeWithLastSubmission: prompt.name === 'consent' });
  }
}

/** Grants everything that is missing. */
async function granted(provider, { grantId, session, params, prompt: { details } }) {
  const grant = grantId
    ? await provider.Grant.find(grantId)
    : new provider.Grant({ accountId: session.accountId, clientId: params.client_id });
  if (details.missingOIDCScope) grant.addOIDCScope(details.missingOIDCScope.join(' '));
  if (details.missingOIDCClaims) grant.addOIDCClaims(details.missingOIDCClaims);
  for (const [resource, scopes] of Object.entries(details.missingResourceScopes ?? {})) {
    grant.addResourceScope(resource, scopes.join(' '));
  }
  return grant.save();
}

function page(action, prompt, fields) {
  const inputs = fields.map((name) => `<input name="${name}">`).join('');
  return `<!doctype html><title>${prompt}</title>
<form method="post" action="${action}"><input type="hidden" name="prompt" value="${prompt}">${inputs}<button>Go on</button></form>`;
}

// A real OpenID provider (npm `oidc-provider`) with one user, for tests: prints its address.
// Whoever asks it to log him in is ada, of the groups ops and staff.
import { createServer } from 'node:http';
import * as oidc from 'oidc-provider';

const Provider = oidc.Provider ?? oidc.default;

const server = createServer((request, response) => handle(request, response));
let handle = (_, response) => response.end();
await new Promise((listening) => server.listen(0, '127.0.0.1', listening));
const issuer = `http://127.0.0.1:${server.address().port}`;

const provider = new Provider(issuer, {
  clients: [{
    client_id: 'wright',
    application_type: 'native',
    token_endpoint_auth_method: 'none',
    grant_types: ['authorization_code'],
    response_types: ['code'],
    redirect_uris: ['http://127.0.0.1/back'],
  }],
  pkce: { required: () => true },
  scopes: ['openid', 'profile', 'email', 'groups'],
  claims: {
    openid: ['sub'], profile: ['name', 'preferred_username'], email: ['email'], groups: ['groups'],
  },
  conformIdTokenClaims: false,
  features: { devInteractions: { enabled: false } },
  findAccount: (_, id) => ({
    accountId: id,
    claims: () => ({
      sub: id, name: 'Ada Lovelace', preferred_username: id, email: `${id}@example.org`,
      groups: ['ops', 'staff'],
    }),
  }),
  interactions: { url: (_, interaction) => `/interaction/${interaction.uid}` },
});

// The page where a person would type a password and agree.
handle = async (request, response) => {
  if (!request.url.startsWith('/interaction/')) {
    return provider.callback()(request, response);
  }
  const { prompt, params, session } = await provider.interactionDetails(request, response);
  if (prompt.name === 'login') {
    return provider.interactionFinished(request, response, { login: { accountId: 'ada' } });
  }
  const grant = new provider.Grant({ accountId: session.accountId, clientId: params.client_id });
  grant.addOIDCScope(params.scope);
  const grantId = await grant.save();
  return provider.interactionFinished(request, response, { consent: { grantId } });
};
console.log(issuer);

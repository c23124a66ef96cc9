// A real OpenID provider (npm oidc-provider) on loopback for one run of `make identity`.
// Usage: node provider.mjs FOLDER CALLBACK. It prints its issuer, and ends with its standard input.
import { createServer } from "node:http";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const [folder, callback] = process.argv.slice(2);
const require = createRequire(pathToFileURL(`${folder}/`));
const { Provider } = await import(pathToFileURL(require.resolve("oidc-provider")));
const people = {
  bea: { name: "Bea Billing", groups: ["billing"] },
  hana: { name: "Hana Head", groups: ["heads"] },
};
const machines = { "kartra-agent": { name: "agent", groups: ["support"] } };

function makeProvider(issuer) {
  return new Provider(issuer, {
    clients: [
      {
        client_id: "kartra-page",
        client_secret: "page-secret",
        redirect_uris: [callback],
        grant_types: ["authorization_code"],
        response_types: ["code"],
      },
      {
        client_id: "kartra-cli",
        application_type: "native",
        token_endpoint_auth_method: "none",
        redirect_uris: [callback],
        grant_types: ["authorization_code"],
        response_types: ["code"],
      },
      {
        client_id: "kartra-agent",
        client_secret: "agent-secret",
        redirect_uris: [],
        grant_types: ["client_credentials"],
        response_types: [],
      },
    ],
    features: {
      devInteractions: { enabled: false },
      clientCredentials: { enabled: true },
      resourceIndicators: {
        enabled: true,
        useGrantedResource: () => true,
        getResourceServerInfo: (_, resource) => ({
          scope: "kartra:read kartra:write kartra:money",
          audience: resource,
          accessTokenFormat: "jwt",
          accessTokenTTL: 600,
          jwt: { sign: { alg: "RS256" } },
        }),
      },
    },
    // Groups are in the userinfo response and not in ID tokens: the provider's default.
    claims: { openid: ["sub"], profile: ["name", "groups"] },
    extraTokenClaims: (_, token) => people[token.accountId] ?? machines[token.clientId],
    findAccount: (_, id) =>
      people[id] && { accountId: id, claims: () => ({ sub: id, ...people[id] }) },
    interactions: { url: (_, interaction) => `/interaction/${interaction.uid}` },
    cookies: { keys: ["only for this run"] },
    ttl: { AccessToken: 600, IdToken: 600, Interaction: 600, Session: 600, Grant: 600 },
  });
}

// In place of the forms for login and consent: the person of `login_hint` agrees to everything.
async function agree(provider, request, response) {
  const { prompt, params, session, grantId } = await provider.interactionDetails(request, response);
  if (prompt.name === "login") {
    const result = { login: { accountId: params.login_hint } };
    return provider.interactionFinished(request, response, result);
  }
  const known = grantId && (await provider.Grant.find(grantId));
  const names = { accountId: session.accountId, clientId: params.client_id };
  const grant = known || new provider.Grant(names);
  const { missingOIDCScope, missingOIDCClaims, missingResourceScopes } = prompt.details;
  if (missingOIDCScope) grant.addOIDCScope(missingOIDCScope.join(" "));
  if (missingOIDCClaims) grant.addOIDCClaims(missingOIDCClaims);
  for (const [resource, scopes] of Object.entries(missingResourceScopes ?? {})) {
    grant.addResourceScope(resource, scopes.join(" "));
  }
  const result = { consent: { grantId: await grant.save() } };
  return provider.interactionFinished(request, response, result, { mergeWithLastSubmission: true });
}

let handle = () => {};
const server = createServer((request, response) => handle(request, response));
server.listen(0, "127.0.0.1", () => {
  const issuer = `http://127.0.0.1:${server.address().port}`;
  const provider = makeProvider(issuer);
  const answer = provider.callback();
  provider.on("server_error", (_, error) => console.error(error));
  handle = (request, response) =>
    request.url.startsWith("/interaction/")
      ? agree(provider, request, response).catch((error) => {
          console.error(error);
          response.writeHead(500).end();
        })
      : answer(request, response);
  console.log(JSON.stringify({ issuer }));
});
process.stdin.on("end", () => process.exit(0)).resume();

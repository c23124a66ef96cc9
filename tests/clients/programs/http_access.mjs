// Access to a service over HTTP for the TypeScript SDKs; see http_access.py.
import { server } from "./plan.mjs";

const CALLBACK = "http://127.0.0.1:3030/callback";

// A login by OAuth. The browser alone is ours: it follows the address with the person's name.
class Login {
  redirectUrl = CALLBACK;
  clientMetadata = {
    client_name: "kartra-clients",
    redirect_uris: [CALLBACK],
    grant_types: ["authorization_code", "refresh_token"],
    token_endpoint_auth_method: "none",
  };
  clientInformation = () => this.client;
  saveClientInformation = (client) => void (this.client = client);
  tokens = () => this.kept;
  saveTokens = (tokens) => void (this.kept = tokens);
  codeVerifier = () => this.verifier;
  saveCodeVerifier = (verifier) => void (this.verifier = verifier);

  async redirectToAuthorization(url) {
    url.searchParams.set("login_hint", server.login);
    const { headers } = await fetch(url, { redirect: "manual" });
    this.query = new URL(headers.get("location")).searchParams;
  }
}

// Connects a client; `Transport` is the SDK's own, and `redeem` passes a callback's query to it.
export async function connectOverHttp(makeClient, Transport, redeem) {
  const url = new URL(server.url);
  const login = server.login && new Login();
  const options = login ? { authProvider: login } : { requestInit: { headers: server.headers } };
  const first = new Transport(url, options);
  const client = makeClient();
  try {
    await client.connect(first);
    return client;
  } catch (refused) {
    if (!login?.query) throw refused;
    await redeem(first, login.query);
  }
  const known = makeClient();
  await known.connect(new Transport(url, options));
  return known;
}

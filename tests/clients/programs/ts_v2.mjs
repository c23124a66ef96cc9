// The TypeScript SDK, version 2; legacy unless the plan names a mode of version negotiation.
import { Client, StreamableHTTPClientTransport } from "@modelcontextprotocol/client";
import { StdioClientTransport } from "@modelcontextprotocol/client/stdio";
import { connectOverHttp } from "./http_access.mjs";
import { answer, asks, calls, mode, server, thinking, told, yes } from "./plan.mjs";

const options = mode ? { versionNegotiation: { mode } } : {};
if (asks) options.capabilities = { elicitation: { form: {} } };
function makeClient() {
  const client = new Client({ name: "kartra-clients", version: "1" }, options);
  if (asks) {
    client.setRequestHandler("elicitation/create", async () => {
      await thinking();
      return yes;
    });
  }
  return client;
}

async function connect() {
  if (server.url) {
    return connectOverHttp(makeClient, StreamableHTTPClientTransport, (transport, query) => transport.finishAuth(query));
  }
  const client = makeClient();
  await client.connect(new StdioClientTransport(server));
  return client;
}

const client = await connect();
const { tools } = await client.listTools();
const said = {};
for (const [step, name, args] of calls) {
  const result = await client.callTool({ name, arguments: args });
  said[step] = told(result, result.isError);
}
await client.close();
answer("@modelcontextprotocol/client", tools.map((tool) => tool.name), said);

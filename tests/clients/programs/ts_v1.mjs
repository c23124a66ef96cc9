// The TypeScript SDK, version 1.
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StdioClientTransport } from "@modelcontextprotocol/sdk/client/stdio.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";
import { ElicitRequestSchema } from "@modelcontextprotocol/sdk/types.js";
import { connectOverHttp } from "./http_access.mjs";
import { answer, asks, calls, server, thinking, told, yes } from "./plan.mjs";

const capabilities = asks ? { elicitation: {} } : {};
function makeClient() {
  const client = new Client({ name: "kartra-clients", version: "1" }, { capabilities });
  if (asks) {
    client.setRequestHandler(ElicitRequestSchema, async () => {
      await thinking();
      return yes;
    });
  }
  return client;
}

async function connect() {
  if (server.url) {
    return connectOverHttp(makeClient, StreamableHTTPClientTransport, (transport, query) => transport.finishAuth(query.get("code")));
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
answer("@modelcontextprotocol/sdk", tools.map((tool) => tool.name), said);

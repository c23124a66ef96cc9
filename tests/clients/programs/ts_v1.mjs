// The TypeScript SDK, version 1.
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StdioClientTransport } from "@modelcontextprotocol/sdk/client/stdio.js";
import { ElicitRequestSchema } from "@modelcontextprotocol/sdk/types.js";
import { answer, asks, calls, server, thinking, told, yes } from "./plan.mjs";

const capabilities = asks ? { elicitation: {} } : {};
const client = new Client({ name: "kartra-clients", version: "1" }, { capabilities });
if (asks) {
  client.setRequestHandler(ElicitRequestSchema, async () => {
    await thinking();
    return yes;
  });
}
await client.connect(new StdioClientTransport(server));
const { tools } = await client.listTools();
const said = {};
for (const [step, name, args] of calls) {
  const result = await client.callTool({ name, arguments: args });
  said[step] = told(result, result.isError);
}
await client.close();
answer("@modelcontextprotocol/sdk", tools.map((tool) => tool.name), said);

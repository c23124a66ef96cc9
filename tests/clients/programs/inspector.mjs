// The official inspector's command line: one process per request, in the era that the plan names.
import { execFileSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { answer, calls, mode, server, told } from "./plan.mjs";

const PACKAGE = "@modelcontextprotocol/inspector";
const program = fileURLToPath(new URL("./node_modules/.bin/mcp-inspector", import.meta.url));
const TOOL_ERROR = 5;

function target() {
  if (server.url) {
    const headers = Object.entries(server.headers).map(([name, value]) => `${name}: ${value}`);
    return ["--transport", "http", "--server-url", server.url, "--header", ...headers];
  }
  const settings = Object.entries(server.env).flatMap(([name, value]) => ["-e", `${name}=${value}`]);
  // The inspector reads the server's own flags as its own, so the command stands behind `--`.
  return [...settings, "--", server.command, ...server.args];
}

// With a proxy in its environment it fails over HTTP: it cannot load its own `undici`.
const { HTTP_PROXY, HTTPS_PROXY, ALL_PROXY, ...env } = process.env;
const options = { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"], env };

function inspect(...words) {
  const line = [program, "--cli", "--format", "json", "-q", "--protocol-era", mode, ...words, ...target()];
  try {
    return [0, execFileSync(process.execPath, line, options)];
  } catch (ended) {
    if (ended.status !== TOOL_ERROR) throw ended;
    return [ended.status, ended.stdout];
  }
}

const found = JSON.parse(inspect("--method", "tools/list", "--strict")[1]);
const said = {};
for (const [step, tool, args] of calls) {
  const called = ["--method", "tools/call", "--tool-name", tool, "--tool-args-json", JSON.stringify(args)];
  const [code, printed] = inspect(...called);
  said[step] = told(JSON.parse(printed), code === TOOL_ERROR);
}
answer(PACKAGE, (found.result ?? found).tools.map((tool) => tool.name), said);

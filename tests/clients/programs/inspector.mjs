// The official inspector's command line: one process per request, in the era that the plan names.
import { execFileSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { answer, calls, mode, server, told } from "./plan.mjs";

const PACKAGE = "@modelcontextprotocol/inspector";
const program = fileURLToPath(new URL("./node_modules/.bin/mcp-inspector", import.meta.url));
const settings = Object.entries(server.env).flatMap(([name, value]) => ["-e", `${name}=${value}`]);
const TOOL_ERROR = 5;

function inspect(...words) {
  // The inspector reads the server's own flags as its own, so the command stands behind `--`.
  const line = [program, "--cli", ...settings, "--format", "json", "-q", "--protocol-era", mode];
  line.push(...words, "--", server.command, ...server.args);
  try {
    return [0, execFileSync(process.execPath, line, { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] })];
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

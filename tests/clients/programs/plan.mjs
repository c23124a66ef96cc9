// What the JavaScript client programs share; see plan.py.
import { readFileSync } from "node:fs";

const plan = JSON.parse(process.argv[2]);
export const server = plan.server;
export const calls = plan.calls;
export const mode = plan.mode;
export const asks = Boolean(plan.asks);
export const yes = { action: "accept", content: { confirm: true } };
export const thinking = () => new Promise((done) => setTimeout(done, 1500));

export function answer(name, tools, said) {
  const file = new URL(`./node_modules/${name}/package.json`, import.meta.url);
  const { version } = JSON.parse(readFileSync(file, "utf8"));
  process.stdout.write(JSON.stringify({ version, tools: tools.sort(), said, notes: [] }) + "\n");
}

export const told = (handed, failed = false) => ({ handed, failed: Boolean(failed) });

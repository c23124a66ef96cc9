"""An OpenAI Agents agent on a Kartra account; the user approves what removes or refunds."""

import asyncio
import subprocess
import sys

from agents import Agent, Runner, SQLiteSession
from agents.mcp import MCPServerStdio

SERVE = "serve --sandbox --no-page --gate-destructive human --gate-irreversible human"
APPROVE = ["kartra-mcp", "approve", "--sandbox"]
TASK = "Look up ada@example.com and refund transaction 101."


async def main(model="gpt-5", task=TASK):
    server = {"command": "kartra-mcp", "args": SERVE.split()}
    async with MCPServerStdio(server, client_session_timeout_seconds=60) as kartra:
        agent, memory = Agent("Kartra", mcp_servers=[kartra], model=model), SQLiteSession("kartra")
        while task:
            print((await Runner.run(agent, task, session=memory)).final_output)
            subprocess.run(APPROVE)  # lists what waits
            number = input("\nNumber to look at (Enter: end): ")
            if number:
                subprocess.run([*APPROVE, number])  # shows the preview, asks for the PIN
            task = number and f"I decided on approval {number}. If I approved it, call it again."


asyncio.run(main(*sys.argv[1:]))

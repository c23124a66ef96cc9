"""A LangChain agent on a Kartra account; the user agrees to what removes or refunds."""

import asyncio
import sys

from langchain.agents import create_agent
from langchain_mcp_adapters.callbacks import Callbacks
from langchain_mcp_adapters.client import MultiServerMCPClient
from langchain_mcp_adapters.tools import load_mcp_tools
from mcp.types import ElicitResult

SERVE = "serve --sandbox --gate-destructive human --gate-irreversible human"
TASK = "Look up ada@example.com and refund transaction 101."


async def ask(_session, question, _context):
    *_, (name, field) = question.requestedSchema["properties"].items()
    print(f"\n{question.message}\n\n{field['title']} (Enter: no): ", end="", flush=True)
    typed = sys.stdin.readline().strip()  # "" at the end of the input: a no
    yes = typed.lower() == "yes" or name != "confirm"  # the server compares an amount or id
    return ElicitResult(action="accept", content={name: typed, "confirm": yes})


async def main(model="openai:gpt-5", task=TASK):
    server = {"transport": "stdio", "command": "kartra-mcp", "args": SERVE.split()}
    client = MultiServerMCPClient({"kartra": server}, callbacks=Callbacks(on_elicitation=ask))
    async with client.session("kartra") as session:
        agent = create_agent(model, await load_mcp_tools(session))
        print((await agent.ainvoke({"messages": task}))["messages"][-1].text)


asyncio.run(main(*sys.argv[1:]))

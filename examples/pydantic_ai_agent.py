"""A Pydantic AI agent on a Kartra account; the user agrees to what removes or refunds."""

import asyncio
import sys

from fastmcp.client.elicitation import ElicitResult
from fastmcp.client.transports import StdioTransport
from pydantic_ai import Agent
from pydantic_ai.mcp import MCPToolset

SERVE = "serve --sandbox --gate-destructive human --gate-irreversible human"
TASK = "Look up ada@example.com and refund transaction 101."


async def ask(preview, _type, question, _context):
    *_, (name, field) = question.requested_schema["properties"].items()
    print(f"\n{preview}\n\n{field['title']} (Enter: no): ", end="", flush=True)
    typed = sys.stdin.readline().strip()  # "" at the end of the input: a no
    yes = typed.lower() == "yes" or name != "confirm"  # the server compares an amount or id
    return ElicitResult(action="accept", content={name: typed, "confirm": yes})


async def main(model="openai:gpt-5", task=TASK):
    options = {"elicitation_handler": ask, "tool_error_behavior": "failed", "init_timeout": 60}
    kartra = MCPToolset(StdioTransport("kartra-mcp", SERVE.split()), **options)
    print((await Agent(model, toolsets=[kartra]).run(task)).output)


asyncio.run(main(*sys.argv[1:]))

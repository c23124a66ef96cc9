"""LangChain's adapter: each tool gets a tool call; its ToolMessage is what models are sent."""

import asyncio

from langchain_mcp_adapters.callbacks import Callbacks
from langchain_mcp_adapters.client import MultiServerMCPClient
from mcp.types import ElicitResult
from plan import ASKS, CALLS, SERVER, THINKING, YES, answer, told


async def person(_mcp_context, _params, _context):
    await asyncio.sleep(THINKING)
    return ElicitResult(action="accept", content=YES)


async def main():
    asking = {"callbacks": Callbacks(on_elicitation=person)} if ASKS else {}
    client = MultiServerMCPClient({"kartra": {"transport": "stdio", **SERVER}}, **asking)
    tools = {tool.name: tool for tool in await client.get_tools()}
    said = {}
    for step, tool, arguments in CALLS:
        call = {"type": "tool_call", "id": step, "name": tool, "args": arguments}
        message = await tools[tool].ainvoke(call)
        said[step] = told(message.content, failed=message.status == "error")
    answer("langchain-mcp-adapters", tools, said)


asyncio.run(main())

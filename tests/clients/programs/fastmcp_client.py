"""FastMCP's client."""

import asyncio

from fastmcp import Client
from fastmcp.client.elicitation import ElicitResult
from fastmcp.client.transports import StdioTransport
from plan import ASKS, CALLS, SERVER, THINKING, YES, answer, told


async def person(_message, _form, _params, _context):
    await asyncio.sleep(THINKING)
    return ElicitResult(action="accept", content=YES)


async def main():
    asking = {"elicitation_handler": person} if ASKS else {}
    async with Client(StdioTransport(**SERVER), **asking) as client:
        tools = [tool.name for tool in await client.list_tools()]
        said = {}
        for step, tool, arguments in CALLS:
            result = await client.call_tool_mcp(tool, arguments)
            handed = result.model_dump(mode="json", by_alias=True)
            said[step] = told(handed, failed=handed.get("isError"))
        answer("fastmcp", tools, said)


asyncio.run(main())

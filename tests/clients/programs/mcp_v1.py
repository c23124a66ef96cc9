"""The Python SDK before version 2: ClientSession over stdio."""

import asyncio

from mcp import ClientSession, StdioServerParameters, types
from mcp.client.stdio import stdio_client
from plan import ASKS, CALLS, SERVER, THINKING, YES, answer, told


async def person(_context, _params):
    await asyncio.sleep(THINKING)
    return types.ElicitResult(action="accept", content=YES)


async def main():
    asking = {"elicitation_callback": person} if ASKS else {}
    async with (
        stdio_client(StdioServerParameters(**SERVER)) as (read, write),
        ClientSession(read, write, **asking) as session,
    ):
        await session.initialize()
        tools = [tool.name for tool in (await session.list_tools()).tools]
        said = {}
        for step, tool, arguments in CALLS:
            result = await session.call_tool(tool, arguments)
            said[step] = told(result.model_dump(mode="json"), failed=result.isError)
        answer("mcp", tools, said)


asyncio.run(main())

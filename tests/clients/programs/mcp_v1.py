"""The Python SDK before version 2: ClientSession over stdio, or over HTTP."""

import asyncio
from contextlib import asynccontextmanager

from mcp import ClientSession, StdioServerParameters, types
from mcp.client.stdio import stdio_client
from plan import ASKS, CALLS, SERVER, THINKING, YES, answer, told


async def person(_context, _params):
    await asyncio.sleep(THINKING)
    return types.ElicitResult(action="accept", content=YES)


@asynccontextmanager
async def streams():
    if "url" in SERVER:
        from http_access import auth
        from mcp.client.streamable_http import streamablehttp_client

        allowed = auth(lambda query: (query["code"], query["state"]))
        opened = streamablehttp_client(SERVER["url"], SERVER.get("headers"), auth=allowed)
        async with opened as (read, write, _):
            yield read, write
        return
    async with stdio_client(StdioServerParameters(**SERVER)) as both:
        yield both


async def main():
    asking = {"elicitation_callback": person} if ASKS else {}
    async with streams() as (read, write), ClientSession(read, write, **asking) as session:
        await session.initialize()
        tools = [tool.name for tool in (await session.list_tools()).tools]
        said = {}
        for step, tool, arguments in CALLS:
            result = await session.call_tool(tool, arguments)
            said[step] = told(result.model_dump(mode="json"), failed=result.isError)
        answer("mcp", tools, said)


asyncio.run(main())

"""The Python SDK from version 2: Client over stdio, in the mode that the plan names."""

import asyncio

from mcp import Client, StdioServerParameters, types
from plan import ASKS, CALLS, PLAN, SERVER, THINKING, YES, answer, told


async def person(_context, _params):
    await asyncio.sleep(THINKING)
    return types.ElicitResult(action="accept", content=YES)


async def main():
    asking = {"elicitation_callback": person} if ASKS else {}
    async with Client(StdioServerParameters(**SERVER), mode=PLAN["mode"], **asking) as client:
        tools = [tool.name for tool in (await client.list_tools()).tools]
        said = {}
        for step, tool, arguments in CALLS:
            result = await client.call_tool(tool, arguments)
            handed = result.model_dump(mode="json", by_alias=True)
            said[step] = told(handed, failed=result.is_error)
        answer("mcp", tools, said)


asyncio.run(main())

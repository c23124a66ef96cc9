"""The Python SDK from version 2: Client over stdio or HTTP, in the mode that the plan names."""

import asyncio

from mcp import Client, StdioServerParameters, types
from plan import ASKS, CALLS, PLAN, SERVER, THINKING, YES, answer, told


async def person(_context, _params):
    await asyncio.sleep(THINKING)
    return types.ElicitResult(action="accept", content=YES)


def server():
    """Return the server's parameters, or the transport to it."""
    if "url" not in SERVER:
        return StdioServerParameters(**SERVER)
    import httpx2
    from http_access import SECONDS, auth
    from mcp.client.auth import AuthorizationCodeResult
    from mcp.client.streamable_http import streamable_http_client

    allowed = auth(lambda query: AuthorizationCodeResult(**query))
    http = httpx2.AsyncClient(headers=SERVER.get("headers"), auth=allowed, timeout=SECONDS)
    return streamable_http_client(SERVER["url"], http_client=http)


async def main():
    asking = {"elicitation_callback": person} if ASKS else {}
    async with Client(server(), mode=PLAN["mode"], **asking) as client:
        tools = [tool.name for tool in (await client.list_tools()).tools]
        said = {}
        for step, tool, arguments in CALLS:
            result = await client.call_tool(tool, arguments)
            handed = result.model_dump(mode="json", by_alias=True)
            said[step] = told(handed, failed=result.is_error)
        answer("mcp", tools, said)


asyncio.run(main())

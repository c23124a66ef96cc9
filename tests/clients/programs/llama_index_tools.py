"""LlamaIndex: each tool is called; the content of its output is what agents hand to models."""

import asyncio

from llama_index.tools.mcp import BasicMCPClient, McpToolSpec
from plan import CALLS, SERVER, answer, told


async def main():
    client = BasicMCPClient(SERVER["command"], args=SERVER["args"], env=SERVER["env"])
    tools = {tool.metadata.name: tool for tool in await McpToolSpec(client).to_tool_list_async()}
    said = {}
    for step, tool, arguments in CALLS:
        output = await tools[tool].acall(**arguments)
        said[step] = told(output.content, failed=output.is_error)
    answer("llama-index-tools-mcp", tools, said)


asyncio.run(main())

"""Google's ADK: an agent whose model is scripted and keeps what it is sent."""

import asyncio

from google.adk.agents import LlmAgent
from google.adk.models import BaseLlm, LlmResponse
from google.adk.runners import InMemoryRunner
from google.adk.tools.mcp_tool import McpToolset, StdioConnectionParams
from google.genai import types
from mcp import StdioServerParameters
from plan import CALLS, SERVER, answer, told

tools = set()
said = {}
left = list(CALLS)


class Scripted(BaseLlm):
    """A model that makes the plan's calls one after the other."""

    async def generate_content_async(self, llm_request, stream=False):  # noqa: FBT002
        tools.update(llm_request.tools_dict)
        for part in llm_request.contents[-1].parts:
            if part.function_response:
                given = part.function_response
                failed = given.response.get("isError") or "error" in given.response
                said[given.id] = told(given.response, failed=failed)
        yield LlmResponse(content=types.Content(role="model", parts=[self.next()]))

    def next(self):
        if not left:
            return types.Part(text="done")
        step, tool, arguments = left.pop(0)
        return types.Part(function_call=types.FunctionCall(id=step, name=tool, args=arguments))


async def main():
    connection = StdioConnectionParams(server_params=StdioServerParameters(**SERVER))
    toolset = McpToolset(connection_params=connection)
    agent = LlmAgent(name="a", model=Scripted(model="scripted"), tools=[toolset])
    runner = InMemoryRunner(agent=agent)
    await runner.run_debug("go", quiet=True)
    await toolset.close()
    answer("google-adk", tools, said)


asyncio.run(main())

"""Pydantic AI: an agent whose model is a function and keeps what it is sent."""

import asyncio

from fastmcp.client.elicitation import ElicitResult
from fastmcp.client.transports import StdioTransport
from plan import ASKS, CALLS, SERVER, THINKING, YES, answer, told
from pydantic_ai import Agent
from pydantic_ai.mcp import MCPToolset
from pydantic_ai.messages import (
    ModelResponse,
    RetryPromptPart,
    TextPart,
    ToolCallPart,
    ToolReturnPart,
)
from pydantic_ai.models.function import FunctionModel

tools = set()
said = {}
left = list(CALLS)


def model(messages, info):
    """Make the plan's calls one after the other."""
    tools.update(tool.name for tool in info.function_tools)
    for part in messages[-1].parts:
        if isinstance(part, RetryPromptPart):
            said[part.tool_call_id] = told(part.model_response(), failed=True)
        elif isinstance(part, ToolReturnPart):
            said[part.tool_call_id] = told(part.model_response_str())
    if not left:
        return ModelResponse(parts=[TextPart("done")])
    step, tool, arguments = left.pop(0)
    return ModelResponse(parts=[ToolCallPart(tool, arguments, step)])


async def person(_message, _form, _params, _context):
    await asyncio.sleep(THINKING)
    return ElicitResult(action="accept", content=YES)


async def main():
    asking = {"elicitation_handler": person} if ASKS else {}
    toolset = MCPToolset(StdioTransport(**SERVER), **asking)
    agent = Agent(FunctionModel(model), toolsets=[toolset])
    async with agent:
        await agent.run("go")
    answer("pydantic-ai-slim", tools, said)


asyncio.run(main())

"""OpenAI's Agents SDK: an agent whose model is scripted and keeps what it is sent."""

import asyncio
import json

from agents import Agent, Model, ModelResponse, Runner, Usage
from agents.mcp import MCPServerStdio
from openai.types.responses import (
    ResponseFunctionToolCall,
    ResponseOutputMessage,
    ResponseOutputText,
)
from plan import CALLS, SERVER, answer, told


class Scripted(Model):
    """A model that makes the plan's calls one after the other."""

    def __init__(self):
        self.left = list(CALLS)
        self.tools = set()
        self.sent = []

    async def get_response(self, system_instructions, input, model_settings, tools, *_, **__):  # noqa: A002
        self.tools |= {tool.name for tool in tools}
        self.sent = input
        return ModelResponse(output=[self.next()], usage=Usage(), response_id=None)

    def next(self):
        if not self.left:
            said = ResponseOutputText(text="done", type="output_text", annotations=[])
            return ResponseOutputMessage(
                id="m", content=[said], role="assistant", status="completed", type="message"
            )
        step, tool, arguments = self.left.pop(0)
        return ResponseFunctionToolCall(
            call_id=step, name=tool, arguments=json.dumps(arguments), type="function_call"
        )

    def stream_response(self, *_, **__):
        raise NotImplementedError


async def main():
    async with MCPServerStdio(params=SERVER) as server:
        model = Scripted()
        await Runner.run(Agent(name="a", model=model, mcp_servers=[server]), "go")
        outputs = [item for item in model.sent if item.get("type") == "function_call_output"]
        # Only the text shows a failure to the model.
        said = {item["call_id"]: told(item["output"]) for item in outputs}
        answer("openai-agents", model.tools, said)


asyncio.run(main())

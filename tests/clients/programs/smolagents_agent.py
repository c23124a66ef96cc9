"""smolagents: a code agent whose model is scripted and records its input.

Its other kind of agent, which calls tools by JSON, is tried with the first call only.
"""

import json

from mcp import StdioServerParameters
from plan import CALLS, SERVER, answer, told
from smolagents import CodeAgent, MCPClient, Model, ToolCallingAgent
from smolagents.models import ChatMessage, ChatMessageToolCall, ChatMessageToolCallFunction

DONE = ("end", "final_answer", {"answer": "done"})


def as_code(step, tool, arguments):
    given = ", ".join(f"{name}={value!r}" for name, value in arguments.items())
    code = f"found = {tool}({given})\nprint(found)"
    return ChatMessage(role="assistant", content=f"<code>\n{code}\n</code>")


def as_json(step, tool, arguments):
    wanted = ChatMessageToolCallFunction(arguments=arguments, name=tool)
    call = ChatMessageToolCall(function=wanted, id=step, type="function")
    return ChatMessage(role="assistant", content="", tool_calls=[call])


class Scripted(Model):
    """A model that makes the calls one after the other, as code or as JSON."""

    def __init__(self, calls, written):
        super().__init__()
        self.left = [*calls, DONE]
        self.written = written
        self.asked = ""
        self.said = {}

    def generate(self, messages, **_):
        if self.asked:
            last = [item.get("text", "") for item in messages[-1].content]
            # A call that raised comes to the model as a text that begins so.
            failed = any(text.startswith("Error:") for text in last)
            self.said[self.asked] = told(last, failed=failed)
        call = self.left.pop(0)
        self.asked = call[0]
        return self.written(*call)


def noted(said):
    """Return the differences of the agent by JSON."""
    if said["failed"] and "is required" in json.dumps(said["handed"]):
        return ["its `ToolCallingAgent` refuses a call that leaves out an optional argument"]
    return []


with MCPClient(StdioServerParameters(**SERVER), structured_output=False) as tools:
    model = Scripted(CALLS, as_code)
    CodeAgent(tools=tools, model=model, verbosity_level=0).run("go")
    other = Scripted(CALLS[:1], as_json)
    ToolCallingAgent(tools=tools, model=other, verbosity_level=0).run("go")
    notes = noted(other.said[CALLS[0][0]])
    answer("smolagents", [tool.name for tool in tools], model.said, notes)

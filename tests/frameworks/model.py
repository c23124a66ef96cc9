"""Scripted model of OpenAI's two APIs on loopback; each step may depend on the answer before.

A step is a tool call, or text that ends the model's turn. Unlike the model of `make clients`, it
keeps its place in the script itself, because a turn may end in the middle.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from clients.model_apis import Answer, Api, Body, Call, Completions, Responses
from loopback_app import HOST, running_app
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

APIS: dict[str, Api] = {"/v1/chat/completions": Completions(), "/v1/responses": Responses()}
KEY = "made-up"
"""The frameworks require a key; the stand-in reads none."""
QUOTED = "The server answered:"


@dataclass(frozen=True)
class ToolCall:
    """A call whose arguments are made from the text of the last answer."""

    tool: str
    make: Callable[[str], Body]


@dataclass(frozen=True)
class Together:
    """Calls that the model makes in one reply."""

    calls: Sequence[ToolCall]


@dataclass(frozen=True)
class EndTurn:
    """Text for the user: the last answer of the server, quoted."""


Step = ToolCall | Together | EndTurn


@dataclass
class ScriptedModel:
    """The script, and the answers of the server as the model received them."""

    script: Sequence[Step]
    answers: list[Answer] = field(default_factory=list[Answer])
    faults: list[str] = field(default_factory=list[str])
    _at: int = 0

    def app(self) -> Starlette:
        return Starlette(
            routes=[Route(path, self._route(api), methods=["POST"]) for path, api in APIS.items()]
        )

    def next_reply(self, api: Api, body: Body) -> Body:
        """Return the next step as a reply; after the script's end, text."""
        self.answers = api.answers(body)
        last = self.answers[-1].text if self.answers else ""
        step = self.script[self._at] if self._at < len(self.script) else EndTurn()
        self._at += 1
        if isinstance(step, EndTurn):
            return api.reply(body, None, f"{QUOTED} {last}")
        offered = {tool.name: tool for tool in api.tools(body)}
        calls = step.calls if isinstance(step, Together) else [step]
        if missing := [call.tool for call in calls if call.tool not in offered]:
            self.faults.append(f"{', '.join(missing)} was not offered to the model")
            return api.reply(body, None, "There is no such tool.")
        replies = [
            api.reply(body, Call(f"call-{self._at}-{at}", offered[call.tool], call.make(last)))
            for at, call in enumerate(calls)
        ]
        return join(replies)

    def is_done(self) -> bool:
        return self._at == len(self.script)

    def _route(self, api: Api) -> Any:
        async def respond(request: Request) -> Response:
            return JSONResponse(self.next_reply(api, await request.json()))

        return respond


def join(replies: Sequence[Body]) -> Body:
    """Return the first reply with the calls of all."""
    first, *more = replies
    for reply in more:
        list_calls(first).extend(list_calls(reply))
    return first


def list_calls(reply: Body) -> list[Body]:
    """Return the calls inside a reply of either API."""
    if "choices" in reply:
        return reply["choices"][0]["message"]["tool_calls"]
    return reply["output"]


@contextmanager
def serve_model(model: ScriptedModel) -> Generator[dict[str, str]]:
    """Serve it on a free port of loopback; yield the variables that lead a framework to it."""
    with running_app(model.app()) as port:
        yield {"OPENAI_BASE_URL": f"http://{HOST}:{port}/v1", "OPENAI_API_KEY": KEY}

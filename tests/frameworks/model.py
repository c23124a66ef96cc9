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
class EndTurn:
    """Text for the user: the last answer of the server, quoted."""


@dataclass
class ScriptedModel:
    """The script, and the answers of the server as the model received them."""

    script: Sequence[ToolCall | EndTurn]
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
        offered = [tool for tool in api.tools(body) if tool.name == step.tool]
        if not offered:
            self.faults.append(f"{step.tool} was not offered to the model")
            return api.reply(body, None, "There is no such tool.")
        return api.reply(body, Call(f"call-{self._at}", offered[0], step.make(last)))

    def is_done(self) -> bool:
        return self._at == len(self.script)

    def _route(self, api: Api) -> Any:
        async def respond(request: Request) -> Response:
            return JSONResponse(self.next_reply(api, await request.json()))

        return respond


@contextmanager
def serve_model(model: ScriptedModel) -> Generator[dict[str, str]]:
    """Serve it on a free port of loopback; yield the variables that lead a framework to it."""
    with running_app(model.app()) as port:
        yield {"OPENAI_BASE_URL": f"http://{HOST}:{port}/v1", "OPENAI_API_KEY": KEY}

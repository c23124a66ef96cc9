"""Stand-in for a model on loopback: an agent runs from end to end without a model or a network.

It calls the scripted tools in turn, each after the answer to the one before, and ends with
`done`. Every request is logged (JSON lines: api, path, body), as evidence of the model's input.
"""

from __future__ import annotations

import json
import re
from collections.abc import AsyncGenerator, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from loopback_app import HOST, running_app
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from clients.model_apis import (
    Answer,
    Api,
    Body,
    Call,
    Completions,
    Event,
    Generate,
    Messages,
    Responses,
    Tool,
)

APIS: dict[str, Api] = {
    "/v1/messages": Messages(),
    "/v1/chat/completions": Completions(),
    "/v1/responses": Responses(),
    "/v1beta/models/{model}": Generate(),
}

PATIENT = '// @exec: {"yield_time_ms": 150000}\n'
"""Codex's code else goes on in the background after 30 s, and the model is asked again."""


@dataclass(frozen=True)
class Step:
    """One tool call of the model, by the server's own name of the tool."""

    tool: str
    arguments: Body


def next_call(script: Sequence[Step], api: Api, body: Body) -> Call | None:
    """Return the model's next call at this point of the script; None at its end.

    A request that offers no tools is a side task of the agent, such as a title.
    """
    offered = api.tools(body)
    answered = {answer.id for answer in api.answers(body)}
    done = sum(f"step-{n}" in answered for n in range(len(script)))
    if not offered or done == len(script):
        return None
    step = script[done]
    found = [tool for tool in offered if tool.name.endswith(step.tool)]
    if found:
        return Call(f"step-{done}", found[0], step.arguments)
    searched = f"search-{done}"
    names = named(step.tool, texts_of(body))
    known = {tool.name: tool for tool in offered}
    if searched not in answered and (search := searching(names, known)):
        return Call(searched, *search)
    return hidden(f"step-{done}", step, names, known)


def searching(names: list[str], known: Mapping[str, Tool]) -> tuple[Tool, Body] | None:
    """Return the call that finds a deferred tool in Claude Code or Codex (with or without code)."""
    if tool := known.get("ToolSearch"):
        return (tool, {"query": f"select:{names[0]}", "max_results": 1}) if names else None
    if tool := known.get("tool_search"):
        return tool, {"query": "kartra", "limit": 100}
    if (tool := known.get("exec")) and not names:
        own = 'ALL_TOOLS.filter(t => t.name.includes("kartra")).map(t => t.name)'
        return tool, {"input": f'text({own}.join("\\n"));'}
    return None


def hidden(number: str, step: Step, names: list[str], known: Mapping[str, Tool]) -> Call | None:
    """Call a tool that is only named: by its name, or from code if the agent works so."""
    if not names:
        return None
    if code := known.get("exec"):
        call = f"await tools.{names[0]}({json.dumps(step.arguments)})"
        return Call(number, code, {"input": f"{PATIENT}text({call});"})
    return Call(number, Tool(names[0]), step.arguments)


def named(tool: str, texts: str) -> list[str]:
    """Return the names with a client's prefix under which a tool occurs in texts."""
    return re.findall(rf"\b[A-Za-z]\w*[-_]{re.escape(tool)}\b", texts)


def texts_of(value: Any) -> str:
    """Return all texts inside a JSON value, one per line."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        return "\n".join(map(texts_of, value))
    return value if isinstance(value, str) else ""


@dataclass
class Model:
    """The stand-in: a script to play, and a log of its input."""

    script: Sequence[Step]
    log: Path

    def app(self) -> Starlette:
        spoken = [Route(path, self._speak(api), methods=["POST"]) for path, api in APIS.items()]
        counts = Route("/v1/messages/count_tokens", self._count, methods=["POST"])
        return Starlette(routes=[counts, *spoken], exception_handlers={404: self._other})

    def _speak(self, api: Api) -> Any:
        async def speak(request: Request) -> Response:
            body = await request.json()
            self._keep(type(api).__name__, request.url.path, body)
            if "countTokens" in request.url.path:
                return JSONResponse({"totalTokens": 1})
            reply = api.reply(body, next_call(self.script, api, body))
            if body.get("stream") or "stream" in request.url.path:
                events = (line(event) for event in api.events(reply))
                return StreamingResponse(_each(events), media_type="text/event-stream")
            return JSONResponse(reply)

        return speak

    async def _count(self, _: Request) -> Response:
        return JSONResponse({"input_tokens": 1})

    async def _other(self, request: Request, _: Exception) -> Response:
        """Answer any other request of an agent, such as a list of models, with an empty result."""
        self._keep("other", f"{request.method} {request.url.path}", {})
        return JSONResponse({"data": [], "models": []})

    def _keep(self, api: str, path: str, body: Body) -> None:
        with self.log.open("a", encoding="utf-8") as log:
            log.write(json.dumps({"api": api, "path": path, "body": body}) + "\n")


async def _each(lines: Iterator[str]) -> AsyncGenerator[str]:
    for one in lines:
        yield one


def line(event: Event) -> str:
    """Format one event of a stream."""
    name, data = event
    head = f"event: {name}\n" if name else ""
    return f"{head}data: {data if isinstance(data, str) else json.dumps(data)}\n\n"


@contextmanager
def serving(model: Model) -> Generator[str]:
    """Start the stand-in on a free port of loopback; yield its address."""
    with running_app(model.app()) as port:
        yield f"http://{HOST}:{port}"


@dataclass(frozen=True)
class Shown:
    """Input of the model in one request, or in several."""

    offered: frozenset[str] = frozenset()
    """Tools with their schemas, by the client's names."""
    texts: str = ""
    answers: Mapping[str, Answer] = field(default_factory=dict[str, Answer])
    """Answers by the id of the call: `step-0`, `step-1`…"""

    def offers(self, tools: Iterable[str]) -> set[str]:
        """Return the server's tools whose schemas are included."""
        return {tool for tool in tools if any(name.endswith(tool) for name in self.offered)}

    def names(self, tools: Iterable[str]) -> set[str]:
        """Return the server's tools that are named with the client's prefix."""
        return {tool for tool in tools if named(tool, self.texts)}

    def __or__(self, other: Shown) -> Shown:
        both = f"{self.texts}\n{other.texts}"
        return Shown(self.offered | other.offered, both, {**self.answers, **other.answers})


def shown(log: Path) -> list[Shown]:
    """Return the input request by request, without requests that offer no tools."""
    apis = {type(api).__name__: api for api in APIS.values()}
    lines = [json.loads(one) for one in log.read_text("utf-8").splitlines()]
    asked = [(apis[one["api"]], one["body"]) for one in lines if one["api"] in apis]
    return [request(api, body) for api, body in asked if api.tools(body)]


def request(api: Api, body: Body) -> Shown:
    offered = frozenset(tool.name for tool in api.tools(body))
    return Shown(offered, texts_of(body), {answer.id: answer for answer in api.answers(body)})

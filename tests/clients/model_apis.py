"""Four APIs of models: parse the offered tools and the answers, write one reply. Pure.

Anthropic's messages, OpenAI's chat completions and responses, Gemini's generateContent. Only the
parts that an agent needs are implemented. A body is the JSON of one request. An event is a name
(or "") and its data, as in server-sent events.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Protocol

Body = dict[str, Any]
Event = tuple[str, Body | str]
DONE = "done"


@dataclass(frozen=True)
class Tool:
    """A tool as it is offered to the model. Namespaces and other kinds are only Codex's."""

    name: str
    namespace: str = ""
    kind: str = "function"


@dataclass(frozen=True)
class Call:
    """A tool call of the model. Its id comes back with the answer."""

    id: str
    tool: Tool
    arguments: Body


@dataclass(frozen=True)
class Answer:
    """The result of one call, as the model receives it."""

    id: str
    text: str
    failed: bool = False


class Api(Protocol):
    """One API. `reply` returns the text if there is no call."""

    def tools(self, body: Body) -> list[Tool]: ...
    def answers(self, body: Body) -> list[Answer]: ...
    def reply(self, body: Body, call: Call | None, text: str = DONE) -> Body: ...
    def events(self, reply: Body) -> Iterable[Event]: ...


def texts(content: Any) -> str:
    """Return the text of a content that is a text or a list of parts."""
    if isinstance(content, str):
        return content
    return "\n".join(str(part.get("text", "")) for part in content or () if isinstance(part, dict))


class Messages:
    """Anthropic: POST /v1/messages."""

    def tools(self, body: Body) -> list[Tool]:
        return [Tool(tool["name"]) for tool in body.get("tools") or ()]

    def answers(self, body: Body) -> list[Answer]:
        said = (m["content"] for m in body["messages"] if isinstance(m["content"], list))
        parts = (part for content in said for part in content)
        return [
            Answer(part["tool_use_id"], texts(part.get("content")), bool(part.get("is_error")))
            for part in parts
            if part.get("type") == "tool_result"
        ]

    def reply(self, body: Body, call: Call | None, text: str = DONE) -> Body:
        part: Body = {"type": "text", "text": text}
        if call:
            asked = {"id": call.id, "name": call.tool.name, "input": call.arguments}
            part = {"type": "tool_use", **asked}
        return {
            "id": "msg_1",
            "type": "message",
            "role": "assistant",
            "model": body.get("model"),
            "content": [part],
            "stop_reason": "tool_use" if call else "end_turn",
            "stop_sequence": None,
            "usage": {"input_tokens": 1, "output_tokens": 1},
        }

    def events(self, reply: Body) -> Iterable[Event]:
        (part,) = reply["content"]
        empty, delta = _piece(part)
        stop = {"stop_reason": reply["stop_reason"], "stop_sequence": None}
        for event in (
            {"type": "message_start", "message": {**reply, "content": [], "stop_reason": None}},
            {"type": "content_block_start", "index": 0, "content_block": empty},
            {"type": "content_block_delta", "index": 0, "delta": delta},
            {"type": "content_block_stop", "index": 0},
            {"type": "message_delta", "delta": stop, "usage": {"output_tokens": 1}},
            {"type": "message_stop"},
        ):
            yield str(event["type"]), event


def _piece(part: Body) -> tuple[Body, Body]:
    """Return one of Anthropic's blocks as a stream begins it, and the one delta that fills it."""
    if part["type"] == "text":
        return {**part, "text": ""}, {"type": "text_delta", "text": part["text"]}
    whole = json.dumps(part["input"])
    return {**part, "input": {}}, {"type": "input_json_delta", "partial_json": whole}


class Completions:
    """OpenAI: POST /v1/chat/completions."""

    def tools(self, body: Body) -> list[Tool]:
        return [Tool(tool["function"]["name"]) for tool in body.get("tools") or ()]

    def answers(self, body: Body) -> list[Answer]:
        told = (m for m in body["messages"] if m["role"] == "tool")
        return [Answer(m["tool_call_id"], texts(m.get("content"))) for m in told]

    def reply(self, body: Body, call: Call | None, text: str = DONE) -> Body:
        message: Body = {"role": "assistant", "content": None if call else text}
        if call:
            asked = {"name": call.tool.name, "arguments": json.dumps(call.arguments)}
            one = {"index": 0, "id": call.id, "type": "function", "function": asked}
            message["tool_calls"] = [one]
        end = "tool_calls" if call else "stop"
        return {
            "id": "chat_1",
            "object": "chat.completion",
            "created": 1,
            "model": body.get("model"),
            "choices": [{"index": 0, "message": message, "finish_reason": end}],
            "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
        }

    def events(self, reply: Body) -> Iterable[Event]:
        (choice,) = reply["choices"]
        first = {"index": 0, "delta": choice["message"], "finish_reason": None}
        last = {"index": 0, "delta": {}, "finish_reason": choice["finish_reason"]}
        for part in (first, last):
            yield "", {**reply, "object": "chat.completion.chunk", "choices": [part]}
        yield "", "[DONE]"


class Responses:
    """OpenAI: POST /v1/responses."""

    def tools(self, body: Body) -> list[Tool]:
        """Return the offered tools, with those that an item of the input adds after a search."""
        added = [tool for item in self._items(body) for tool in item.get("tools", ())]
        return [found for tool in (*body.get("tools", ()), *added) for found in _offered(tool)]

    def answers(self, body: Body) -> list[Answer]:
        told = (item for item in self._items(body) if str(item.get("type")).endswith("_output"))
        return [Answer(item["call_id"], texts(item.get("output", ""))) for item in told]

    def _items(self, body: Body) -> list[Body]:
        return body["input"] if isinstance(body["input"], list) else []

    def reply(self, body: Body, call: Call | None, text: str = DONE) -> Body:
        return {
            "id": "resp_1",
            "object": "response",
            "created_at": 1,
            "status": "completed",
            "model": body.get("model"),
            "output": [_asked(call) if call else _said(text)],
            "usage": {
                "input_tokens": 1,
                "output_tokens": 1,
                "total_tokens": 2,
                "input_tokens_details": {"cached_tokens": 0},
                "output_tokens_details": {"reasoning_tokens": 0},
            },
        }

    def events(self, reply: Body) -> Iterable[Event]:
        (item,) = reply["output"]
        begun = {**reply, "status": "in_progress", "output": []}
        for number, (name, told) in enumerate(
            (
                ("response.created", {"response": begun}),
                ("response.output_item.added", {"output_index": 0, "item": item}),
                ("response.output_item.done", {"output_index": 0, "item": item}),
                ("response.completed", {"response": reply}),
            )
        ):
            yield name, {"type": name, "sequence_number": number, **told}


def _offered(tool: Body) -> list[Tool]:
    if tool["type"] != "namespace":
        return [Tool(tool.get("name", tool["type"]), kind=tool["type"])]
    return [Tool(inner["name"], tool["name"], inner["type"]) for inner in tool["tools"]]


def _asked(call: Call) -> Body:
    """Return name and input: a search has no name, and a custom tool takes a text as `input`."""
    item: Body = {"id": f"i_{call.id}", "call_id": call.id, "status": "completed"}
    if call.tool.kind == "tool_search":
        searched = {"execution": "client", "arguments": call.arguments}
        return {"type": "tool_search_call", **item, **searched}
    where = {"namespace": call.tool.namespace} if call.tool.namespace else {}
    named = {**item, "name": call.tool.name, **where}
    if call.tool.kind == "custom":
        return {"type": "custom_tool_call", **named, "input": call.arguments["input"]}
    return {"type": "function_call", **named, "arguments": json.dumps(call.arguments)}


def _said(text: str) -> Body:
    part = {"type": "output_text", "text": text, "annotations": []}
    who = {"id": "m_1", "role": "assistant", "status": "completed"}
    return {"type": "message", **who, "content": [part]}


class Generate:
    """Gemini: POST /v1beta/models/MODEL:generateContent; an answer has a name and no id."""

    def tools(self, body: Body) -> list[Tool]:
        offered = (tool.get("functionDeclarations", ()) for tool in body.get("tools") or ())
        return [Tool(function["name"]) for functions in offered for function in functions]

    def answers(self, body: Body) -> list[Answer]:
        parts = (part for said in body["contents"] for part in said.get("parts", ()))
        told = (part["functionResponse"] for part in parts if "functionResponse" in part)
        return [
            Answer(one.get("id") or one["name"], *_outcome(one.get("response", {}))) for one in told
        ]

    def reply(self, body: Body, call: Call | None, text: str = DONE) -> Body:
        part: Body = {"text": text}
        if call:
            asked = {"id": call.id, "name": call.tool.name, "args": call.arguments}
            part = {"functionCall": asked}
        content = {"role": "model", "parts": [part]}
        used = {"promptTokenCount": 1, "candidatesTokenCount": 1, "totalTokenCount": 2}
        return {
            "candidates": [{"content": content, "finishReason": "STOP", "index": 0}],
            "usageMetadata": used,
        }

    def events(self, reply: Body) -> Iterable[Event]:
        yield "", reply


def _outcome(response: Body) -> tuple[str, bool]:
    """Return the text of a function's response, and true if it is marked as an error."""
    failed = "error" in response
    told = response.get("error" if failed else "output", response)
    return told if isinstance(told, str) else json.dumps(told), failed

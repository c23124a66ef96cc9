"""Facts about a client from the wire log: revision, elicitation, starts, answers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HEADER = "mcp-protocol-version"
REVISION = "io.modelcontextprotocol/protocolVersion"
CAPABILITIES = "io.modelcontextprotocol/clientCapabilities"


@dataclass(frozen=True)
class Line:
    pid: int
    at: float
    """Seconds on the machine's clock."""
    source: str
    said: Any


@dataclass(frozen=True)
class Exchange:
    """A request of the client and the server's answer, if any."""

    pid: int
    method: str
    params: dict[str, Any]
    result: dict[str, Any]
    error: dict[str, Any]


def read(log: Path) -> list[Line]:
    """Return the log's lines; none if the client never started the server."""
    text = log.read_text("utf-8") if log.exists() else ""
    found = map(json.loads, text.splitlines())
    return [Line(line["pid"], line["at"], line["from"], line["said"]) for line in found]


def exchanges(lines: list[Line]) -> list[Exchange]:
    """Return the client's requests in order, each with its answer."""
    answers = {
        (line.pid, line.said.get("id")): line.said
        for line in messages(lines, "server")
        if "result" in line.said or "error" in line.said
    }
    return [
        Exchange(
            line.pid,
            line.said["method"],
            line.said.get("params") or {},
            answers.get((line.pid, line.said["id"]), {}).get("result") or {},
            answers.get((line.pid, line.said["id"]), {}).get("error") or {},
        )
        for line in messages(lines, "client")
        if "method" in line.said and "id" in line.said
    ]


@dataclass(frozen=True)
class HttpRequest:
    """One request over HTTP, with the message in it and the status of its response."""

    method: str
    path: str
    scheme: str
    """Of its `Authorization`; "" without one."""
    message: dict[str, Any]
    status: int


def requests(lines: list[Line]) -> list[HttpRequest]:
    """Return the requests of a log of HTTP in order."""
    sent = {line.pid: line.said for line in messages(lines, "client")}
    got = {line.pid: line.said for line in lines if line.source == "response"}
    return [
        HttpRequest(
            line.said["method"],
            line.said["path"],
            line.said["scheme"],
            sent.get(line.pid, {}),
            got.get(line.pid, 0),
        )
        for line in messages(lines, "request")
    ]


def messages(lines: list[Line], source: str) -> Iterator[Line]:
    """Return the lines of one side that are messages."""
    return (line for line in lines if line.source == source and isinstance(line.said, dict))


def era(lines: list[Line]) -> str:
    """Return the revision of the listing and the calls; two if a client used two.

    Over HTTP each request is an exchange of its own, whose header has the revision. The first
    clients sent no such header: theirs is the one that was negotiated.
    """
    every = exchanges(lines)
    agreed = {e.pid: e.result["protocolVersion"] for e in every if settled(e)}
    named = {line.pid: line.said.get(HEADER) for line in lines if line.source == "request"}
    only = next(iter(agreed.values())) if named and len(set(agreed.values())) == 1 else ""
    used = [
        (e.params.get("_meta") or {}).get(REVISION) or agreed.get(e.pid) or named.get(e.pid) or only
        for e in every
        if e.method in {"tools/list", "tools/call"}
    ]
    return " and ".join(sorted(set(used)))


def settled(exchange: Exchange) -> bool:
    """Return true if a legacy session was negotiated."""
    return exchange.method == "initialize" and "protocolVersion" in exchange.result


def elicitation(lines: list[Line]) -> str:
    """Return the declared capability, at the start or per request: `none`, `form`, `form + url`."""
    modes: set[str] = set()
    for exchange in exchanges(lines):
        meta = exchange.params.get("_meta") or {}
        declared = meta.get(CAPABILITIES) or exchange.params.get("capabilities") or {}
        if isinstance(asks := declared.get("elicitation"), dict):
            modes |= set(asks) or {"form"}
    return " + ".join(sorted(modes & {"form", "url"})) or "none"


def starts(lines: list[Line]) -> int:
    """Count the client's starts of the server."""
    return sum(line.source == "start" for line in lines)


def environment(lines: list[Line]) -> set[str]:
    """Return the names of all variables that the server received."""
    return {name for line in lines if line.source == "start" for name in line.said}


def asked(lines: list[Line]) -> list[str]:
    """Return the questions to the user, in either era."""
    sent = [line.said.get("method") for line in messages(lines, "server")]
    back = [method for method in sent if method == "elicitation/create"]
    returned = [e.result.get("resultType") for e in exchanges(lines)]
    return back + [kind for kind in returned if kind == "input_required"]


def silence(lines: list[Line], tool: str) -> float | None:
    """Return the seconds from the first tool call to the next message of either side."""
    for begun, line in enumerate(lines):
        said = line.said if isinstance(line.said, dict) else {}
        if line.source == "client" and (said.get("params") or {}).get("name") == tool:
            after = (one for one in lines[begun + 1 :] if one.pid == line.pid)
            heard = next((one.at for one in after if ends(one, said)), None)
            return None if heard is None else heard - line.at
    return None


def ends(line: Line, call: dict[str, Any]) -> bool:
    """Return true for the call's answer, its cancellation, or the client's end."""
    said = line.said if isinstance(line.said, dict) else {}
    answered = line.source == "server" and said.get("id") == call["id"]
    return answered or line.source == "gone" or said.get("method") == "notifications/cancelled"


def answer(lines: list[Line], tool: str) -> dict[str, Any]:
    """Return the server's last result for a tool, empty if there is none."""
    found = [e for e in exchanges(lines) if e.method == "tools/call"]
    results = [e.result for e in found if e.params.get("name") == tool and e.result]
    return results[-1] if results else {}

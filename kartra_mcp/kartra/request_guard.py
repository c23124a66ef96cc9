"""Parser and validator of a raw request. Pure, starts nothing.

Only this file makes a `RawRequest` of untrusted input. Kartra's API is one POST endpoint whose
operations are in the body, so a request to it is judged by its commands (`request_body.py`); one to
another path also by the words of the path (`request_path.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NoReturn

from kartra_mcp.core.errors import RefusedError
from kartra_mcp.core.json_types import is_array, is_object
from kartra_mcp.core.models import Command, RawRequest, Risk
from kartra_mcp.kartra import commands as kartra
from kartra_mcp.kartra import fields as kartra_fields
from kartra_mcp.kartra import request_path
from kartra_mcp.kartra.command_remedies import READS, starts_with_read, suggest_read
from kartra_mcp.kartra.request_body import Body, parse_body
from kartra_mcp.kartra.request_parts import read_headers, read_path, read_query
from kartra_mcp.kartra.request_schema import METHODS
from kartra_mcp.kartra.request_tree import FieldTree, extract_commands, reject, safe_name

BODIES = ("json", "form", "raw")

DEDICATED_TOOL_WORDS: Mapping[str, str] = {
    "refund": "kartra_refund_transaction",
    "cancel": "kartra_cancel_subscription",
}
"""Words that no unknown command may contain, and the tool to use instead."""

_PAUSE = "kartra_modify_subscription_status pauses; a raw status is exactly pause or unpause."

HARMLESS_STATUSES = ("pause", "unpause")


def parse_request(arguments: Mapping[str, Any]) -> RawRequest:
    """Return the validated request.

    Raises:
        RefusedError: invalid_arguments, forbidden_request, input_too_large.
    """
    _check_shapes(arguments)
    path, method = arguments["path"], arguments.get("method", "GET")
    params = read_path(path, arguments.get("path_params", {}))
    headers = read_headers(arguments.get("headers", {}))
    pairs, query = read_query(arguments.get("query", {}))
    bodies = [parse_body(kind, arguments[kind]) for kind in BODIES if kind in arguments]
    commands = _extract_commands(query, bodies)
    fields = {} if commands else _merge_fields(query, bodies)
    text, kind = (bodies[0].text, bodies[0].content_type) if bodies else (None, "")
    return RawRequest(method, path, params, pairs, headers, text, kind, commands, fields)


def require_read_only(request: RawRequest) -> None:
    """Refuse a request unless it only reads.

    These are a GET without a body whose path has no verb, and a POST of known reads to the
    documented endpoint: the path of any other POST may act, whatever its body contains.
    """
    _reject_dedicated_path(request)
    if request.method not in {"GET", "POST"}:
        reject(f"method: {request.method} writes", "Use kartra_proxy_write if a write is meant.")
    if request.method == "GET" and request.body is not None:
        reject("method: a GET carries no body", "Set method to POST.")
    if request.method == "POST" and not request.commands:
        _reject_not_a_read("body: it contains no Kartra command, so it is not a known read")
    if request.method == "POST" and not request_path.is_endpoint(request):
        _reject_not_a_read("path: a POST reads only at Kartra's endpoint, /api")
    if request_path.path_risk(request) > Risk.READ:
        _reject_not_a_read("path: its words name an operation that is not a read")
    for command in request.commands:
        if not _is_read(command):
            _reject_command(command.name)


def reject_dedicated_commands(request: RawRequest) -> None:
    """Refuse refunds and cancellations: their own tools read the facts for the preview first."""
    _reject_dedicated_path(request)
    for command in request.commands:
        own = _own_tool(command.name)
        if own and not _is_pause(command):
            if (
                command.name == "modify_subscription_status"
                and "cancel" not in str(list(command.arguments.values())).lower()
            ):
                # A pause that is misspelled is never answered with a cancellation.
                reject(
                    "subscription_status_modification: the status to set is missing or not valid",
                    "Give subscription_status_modification exactly the value pause or unpause.",
                )
            is_status = command.name == "modify_subscription_status"
            pause = f" {_PAUSE}" if is_status else ""
            remedy = f"Use {own}.{pause}"
            if command.name not in kartra.COMMANDS and starts_with_read(command.name):
                remedy = suggest_read(command.name)
            reject(f"cmd: {safe_name(command.name)} is never sent as a raw request", remedy)


def _reject_dedicated_path(request: RawRequest) -> None:
    word = request_path.dedicated_word(request)
    if word:
        own = DEDICATED_TOOL_WORDS[word]
        reject(f"path: an operation named {word} is never sent as a raw request", f"Use {own}.")


def _own_tool(command: str) -> str:
    """Return the dedicated tool of a command; of an unknown command, by its words; else ""."""
    if command in kartra.COMMANDS:
        return kartra.DEDICATED_TOOLS.get(command, "")
    held = (
        tool
        for word, tool in DEDICATED_TOOL_WORDS.items()
        if kartra_fields.contains_word(command, word)
    )
    return next(held, "")


def _is_read(command: Command) -> bool:
    row = kartra.COMMANDS.get(command.name)
    return row is not None and row.risk is Risk.READ


def _reject_not_a_read(what: str) -> NoReturn:
    reject(what, f"POST one of these commands to /api: {', '.join(READS)}.")


def _reject_command(name: str) -> NoReturn:
    """Refuse a command of the read tool; a typo is answered by reads, never by a write."""
    if name in kartra.COMMANDS:
        own = kartra.DEDICATED_TOOLS.get(name)
        other = f"Use kartra_{name}, else kartra_proxy_write."
        reject(f"cmd: {safe_name(name)} writes", f"Use {own}." if own else other)
    reject(f"cmd: {safe_name(name)} is none of Kartra's reading commands", suggest_read(name))


def _is_pause(command: Command) -> bool:
    status = command.arguments.get("subscription_status_modification")
    return command.name == "modify_subscription_status" and status in HARMLESS_STATUSES


def _merge_fields(query: FieldTree, bodies: list[Body]) -> dict[str, Any]:
    """Return the fields of query and body, none overriding another."""
    given = {"query": query.root} if query.root else dict[str, Any]()
    root = bodies[0].tree.root if bodies else dict[str, Any]()
    return {**given, "body": root} if given or not is_object(root) else root


def _extract_commands(query: FieldTree, bodies: list[Body]) -> tuple[Command, ...]:
    """Return every command of the request.

    Only one part may contain commands, since two could disagree.
    """
    if bodies and any(field.name in {"actions", "lead", "get_lead"} for field in query.fields):
        reject("query: both the query and the body contain Kartra's fields", "Use only the body.")
    trees = (query, *(body.tree for body in bodies))
    return tuple(command for tree in trees for command in extract_commands(tree))


# ── Shapes ──


def _is_texts(value: Any) -> bool:
    return is_object(value) and all(isinstance(text, str) for text in value.values())


def _is_query(value: Any) -> bool:
    return is_object(value) and all(
        isinstance(text, str)
        for one in value.values()
        for text in (one if is_array(one) else [one])
    )


ARGUMENT_TYPES: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "method": (lambda v: isinstance(v, str) and v in METHODS, f"one of {', '.join(METHODS)}"),
    "path": (lambda v: isinstance(v, str), "a text that begins with one /"),
    "path_params": (_is_texts, "an object of texts"),
    "query": (_is_query, "an object of texts or lists of texts"),
    "headers": (_is_texts, "an object of texts"),
    "json": (lambda v: is_object(v) or is_array(v), "an object or a list"),
    "form": (is_object, "an object"),
    "raw": (lambda v: isinstance(v, str) and bool(v.strip()), "a text that is not empty"),
}
"""Every argument with the test of its type, and the type in words."""


def _check_shapes(arguments: Mapping[str, Any]) -> None:
    problems = [
        problem for name in arguments if (problem := _describe_problem(name, arguments[name]))
    ]
    bodies = [name for name in BODIES if name in arguments]
    if "path" not in arguments:
        problems.append("path: it is required")
    if len(bodies) > 1:
        problems.append(f"{', '.join(bodies)}: only one of them can be the body")
    if problems:
        _raise_invalid(problems)


def _describe_problem(name: str, value: Any) -> str:
    if name not in ARGUMENT_TYPES:
        return f"{safe_name(name)}: unknown argument"
    right, words = ARGUMENT_TYPES[name]
    return "" if right(value) else f"{name}: expected {words}"


def _raise_invalid(problems: list[str]) -> NoReturn:
    more = f"; and {len(problems) - 5} more" if len(problems) > 5 else ""  # noqa: PLR2004
    raise RefusedError(
        "invalid_arguments",
        f"{'; '.join(problems[:5])}{more}. Nothing was sent.",
        f"Correct them. The arguments are {', '.join(ARGUMENT_TYPES)}.",
    )

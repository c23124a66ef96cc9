"""Parser and validator of a raw request. Pure, starts nothing.

Only this file makes a `RawRequest` of untrusted input. Kartra's API is one POST endpoint whose
operations are in the body, so a request to it is judged by its commands (`request_body.py`); one to
another path also by the words of the path (`request_path.py`).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping
from typing import Any, NoReturn
from urllib.parse import unquote

from kartra_mcp.core.errors import RefusedError
from kartra_mcp.core.json_types import is_array, is_object
from kartra_mcp.core.models import Command, RawRequest, Risk
from kartra_mcp.kartra import commands as kartra
from kartra_mcp.kartra import fields as kartra_fields
from kartra_mcp.kartra import request_path
from kartra_mcp.kartra.command_remedies import READS, starts_with_read, suggest_read
from kartra_mcp.kartra.form_encoding import (
    MAX_FIELDS,
    FormError,
    contains_command,
    is_credential,
    is_method_override,
    php_name,
    read_name,
    unflatten,
)
from kartra_mcp.kartra.request_body import (
    PROTOTYPES,
    Body,
    FieldTree,
    Rule,
    build_tree,
    enforce,
    extract_commands,
    parse_body,
    reject,
    safe_name,
    validate_tree,
)
from kartra_mcp.kartra.request_schema import HEADERS, METHODS

BODIES = ("json", "form", "raw")
MAX_PATH = 2000
MAX_HEADER = 1000
MAX_QUERY = 8000

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
    params = _read_path(path, arguments.get("path_params", {}))
    headers = _read_headers(arguments.get("headers", {}))
    pairs, query = _read_query(arguments.get("query", {}))
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


# ── The path: each rule tests every decoding of it ──

DecodedForms = tuple[str, ...]
"""The text, its first three percent-decodings, and the NFKC form of each of these four."""


def _decode_forms(text: str) -> DecodedForms:
    once = unquote(text, errors="replace")
    twice = unquote(once, errors="replace")
    thrice = unquote(twice, errors="replace")
    decoded = (text, once, twice, thrice)
    return decoded + tuple(unicodedata.normalize("NFKC", reading) for reading in decoded)


def _make_search(pattern: str) -> Callable[[DecodedForms], bool]:
    compiled = re.compile(pattern)
    return lambda readings: any(compiled.search(reading) for reading in readings)


def _has_encoded_slash(readings: DecodedForms) -> bool:
    return any(reading.count("/") != readings[0].count("/") for reading in readings)


def _has_broken_escape(readings: DecodedForms) -> bool:
    whole = re.sub(r"%[0-9A-Fa-f]{2}", "", readings[0])
    return "%" in whole or "\ufffd" in readings[1]


def _has_double_encoding(readings: DecodedForms) -> bool:
    return "%" in readings[1]


def _is_too_long(readings: DecodedForms) -> bool:
    return len(readings[0]) > MAX_PATH


_relative = _make_search(r"^(?!/)")
_control_or_space = _make_search(r"[\x00-\x20\x7f-\xa0]")
_dot_segment = _make_search(r"(?:^|[/\\])\.+(?=$|[/\\;?#])")
_double_slash = _make_search(r"//")
_backslash = _make_search(r"\\")
_host = _make_search(r"[:@]")
_query_or_fragment = _make_search(r"[?#]")
_matrix = _make_search(r";")
_not_ascii = _make_search(r"[^\x00-\x7f]")
_odd_character = _make_search(r"[^A-Za-z0-9._~,+{}/%-]")

_PATH_REMEDY = "Write the plain path, e.g. /api; put values into path_params or query."

PATH_RULES: tuple[Rule[DecodedForms], ...] = (
    Rule(f"at most {MAX_PATH} characters", _is_too_long, _PATH_REMEDY),
    Rule("it must begin with one slash", _relative, _PATH_REMEDY),
    Rule("no control characters or white space", _control_or_space, _PATH_REMEDY),
    Rule("no `.` or `..` segment in any encoding", _dot_segment, _PATH_REMEDY),
    Rule("no `//`", _double_slash, _PATH_REMEDY),
    Rule("no backslash", _backslash, _PATH_REMEDY),
    Rule("no scheme, host or user", _host, _PATH_REMEDY),
    Rule("no `?` or `#` in any encoding", _query_or_fragment, _PATH_REMEDY),
    Rule("no `;` parameters", _matrix, _PATH_REMEDY),
    Rule("no encoded slash", _has_encoded_slash, _PATH_REMEDY),
    Rule("percent sequences must be whole and UTF-8", _has_broken_escape, _PATH_REMEDY),
    Rule("nothing encoded twice", _has_double_encoding, _PATH_REMEDY),
    Rule("only ASCII", _not_ascii, _PATH_REMEDY),
    Rule("only letters, digits and . _ ~ , + - in segments", _odd_character, _PATH_REMEDY),
)

_PARAM = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}")
_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
_PARAM_VALUE = re.compile(r"(?!.*\.\.)(?!\.$)[A-Za-z0-9._~,+-]{1,500}")


def _make_field_finder(
    place: str, odd: Callable[[str, Any], bool]
) -> Callable[[Mapping[str, Any]], str]:
    """Return the position of the first field whose name and value match."""

    def first(fields: Mapping[str, Any]) -> str:
        names = (name for name, value in fields.items() if odd(name, value))
        return next((f"{place}.{safe_name(name)}" for name in names), "")

    return first


def _is_login_name(fields: Mapping[str, Any]) -> bool:
    """Return True for a credential, or a name that other APIs use for login."""
    parts = (part for name in fields for part in re.split(r"[\[\]]", name))
    return any(
        is_credential(part) or kartra_fields.normalize_name(php_name(part)) in _LOGINS
        for part in parts
    )


_odd_param_name = _make_field_finder(
    "path_params", lambda n, _: not _PARAM.fullmatch(n) or n in PROTOTYPES
)
_odd_param_value = _make_field_finder("path_params", lambda _, v: not _PARAM_VALUE.fullmatch(v))
_LOGINS = frozenset(
    {"authorization", "proxyauthorization", "password", "accesstoken", "xapikey", "cookie"}
)
_LOGIN_REMEDY = "Leave credentials out: Membrane adds those of the connection."
_PARAM_REMEDY = "Use letters, digits and . _ ~ , + - in values; a slash belongs into the path."

PARAM_RULES: tuple[Rule[Mapping[str, str]], ...] = (
    Rule("no credential", _is_login_name, _LOGIN_REMEDY),
    Rule("names must be words of letters, digits and `_`", _odd_param_name, _PARAM_REMEDY),
    Rule("plain values: no slash, `..`, `%`, space or sign", _odd_param_value, _PARAM_REMEDY),
)


def _read_path(path: str, params: Mapping[str, str]) -> Mapping[str, str]:
    """Return the parameters, the validated path, and the path with them filled in."""
    enforce(PATH_RULES, _decode_forms(path), "path")
    enforce(PARAM_RULES, params, "path_params")
    if set(_PLACEHOLDER.findall(path)) != set(params):
        reject("path_params: they differ from the {names} of the path", "Give each {name} a value.")
    whole = _PLACEHOLDER.sub(lambda match: params[match[1]], path)
    if "{" in whole or "}" in whole:
        reject("path: unpaired brace", _PATH_REMEDY)
    enforce(PATH_RULES, _decode_forms(whole), "path with path_params")
    return dict(params)


# ── Headers and query ──


def _has_repeated_header(headers: Mapping[str, str]) -> bool:
    return len({name.lower() for name in headers}) < len(headers)


_override_header = _make_field_finder("headers", lambda n, _: is_method_override(n))
_content_header = _make_field_finder("headers", lambda n, _: php_name(n).startswith("content"))
_unlisted = _make_field_finder("headers", lambda n, _: n.lower() not in _ALLOWED or not n.isascii())
_odd_header_value = _make_field_finder("headers", lambda _, v: not _HEADER_VALUE.fullmatch(v))
_telling_value = _make_field_finder("headers", lambda _, v: contains_command(v))
_ALLOWED = {name.lower(): name for name in HEADERS}
_HEADER_VALUE = re.compile(rf"[\x20-\x7e]{{1,{MAX_HEADER}}}")
_HEADER_REMEDY = f"Send only {', '.join(HEADERS)}."

HEADER_RULES: tuple[Rule[Mapping[str, str]], ...] = (
    Rule("no credential", _is_login_name, _LOGIN_REMEDY),
    Rule("no other method than `method`", _override_header, "Set the argument `method`."),
    Rule("no content type: this server sets it", _content_header, "Leave it out."),
    Rule("only listed headers", _unlisted, _HEADER_REMEDY),
    Rule("each header once", _has_repeated_header, _HEADER_REMEDY),
    Rule(f"values of 1 to {MAX_HEADER} ASCII characters", _odd_header_value, _HEADER_REMEDY),
    Rule("no command or credential in a value", _telling_value, _HEADER_REMEDY),
)


def _read_headers(headers: Mapping[str, str]) -> Mapping[str, str]:
    enforce(HEADER_RULES, headers, "headers")
    return {_ALLOWED[name.lower()]: value for name, value in headers.items()}


Query = Mapping[str, str | list[str]]


def _flatten_query(query: Query) -> tuple[tuple[str, str], ...]:
    return tuple(
        (name, text)
        for name, value in query.items()
        for text in (value if isinstance(value, list) else [value])
    )


def _is_query_too_long(query: Query) -> bool:
    return sum(len(name) + len(text) + 2 for name, text in _flatten_query(query)) > MAX_QUERY


def _has_too_many_pairs(query: Query) -> bool:
    return len(_flatten_query(query)) > MAX_FIELDS


def _has_control_char(query: Query) -> bool:
    return any(_CONTROL.search(name + text) for name, text in _flatten_query(query))


def _has_repeated_field(query: Query) -> bool:
    repeated = (name for name, value in query.items() if isinstance(value, list))
    return any(php_name(name.split("[")[0]) in {"actions", "lead", "get_lead"} for name in repeated)


_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_QUERY = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]*(?:\[(?:[A-Za-z0-9_][A-Za-z0-9_-]*)?\])*")
_odd_query_name = _make_field_finder("query", lambda n, _: not _QUERY.fullmatch(n))
_QUERY_REMEDY = "Write names of letters, digits, `_`, `-`, with [names] after them; plain values."

QUERY_RULES: tuple[Rule[Query], ...] = (
    Rule(f"at most {MAX_QUERY} characters", _is_query_too_long, "Send it in the body."),
    Rule(f"at most {MAX_FIELDS} fields", _has_too_many_pairs, "Send less."),
    Rule("no control characters", _has_control_char, _QUERY_REMEDY),
    Rule("no credential", _is_login_name, _LOGIN_REMEDY),
    Rule("no field of Kartra's twice", _has_repeated_field, _QUERY_REMEDY),
    Rule("plain names only", _odd_query_name, _QUERY_REMEDY),
)


def _read_query(query: Query) -> tuple[tuple[tuple[str, str], ...], FieldTree]:
    enforce(QUERY_RULES, query, "query")
    try:
        fields = unflatten((read_name(name), value) for name, value in query.items())
    except FormError as error:
        reject(f"query: {error.what}", _QUERY_REMEDY)
    tree = build_tree("query", fields)
    validate_tree(tree)
    return _flatten_query(query), tree

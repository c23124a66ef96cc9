"""Path, parameters, headers and query of a raw request: each part's rules as a table. Pure.

A rule on the path tests every decoding of it, because another parser may decode once more.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import unquote

from kartra_mcp.kartra import fields as kartra_fields
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
from kartra_mcp.kartra.request_schema import HEADERS
from kartra_mcp.kartra.request_tree import (
    PROTOTYPES,
    FieldTree,
    Rule,
    build_tree,
    enforce,
    reject,
    safe_name,
    validate_tree,
)

MAX_PATH = 2000
MAX_HEADER = 1000
MAX_QUERY = 8000


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


def read_path(path: str, params: Mapping[str, str]) -> Mapping[str, str]:
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


def read_headers(headers: Mapping[str, str]) -> Mapping[str, str]:
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


def read_query(query: Query) -> tuple[tuple[tuple[str, str], ...], FieldTree]:
    enforce(QUERY_RULES, query, "query")
    try:
        fields = unflatten((read_name(name), value) for name, value in query.items())
    except FormError as error:
        reject(f"query: {error.what}", _QUERY_REMEDY)
    tree = build_tree("query", fields)
    validate_tree(tree)
    return _flatten_query(query), tree

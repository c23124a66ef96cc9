"""The property of each target: an input is read, or refused by an error of this server's.

A check takes bytes, as the network, a file or a program hands them over.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from hypothesis import strategies as st
from loose_readers import WORDS, dangers, passes, sent, texts
from random_values import ANY_JSON, FORM_FIELDS, JSON

from fuzz import client_files, words
from fuzz.hunt import Target
from kartra_mcp.bulk.csv_items import CsvTarget, decode_csv, make_items, read_csv
from kartra_mcp.bulk.request import MAX_ITEMS
from kartra_mcp.core.error_codes import ERROR_CODES
from kartra_mcp.core.errors import KartraMCPError, RefusedError
from kartra_mcp.core.json_types import is_object
from kartra_mcp.core.models import Executed, Gate, Risk
from kartra_mcp.kartra import form_encoding
from kartra_mcp.kartra.form_encoding import FormError, encode_form, parse_form, php_value
from kartra_mcp.kartra.request_guard import reject_dedicated_commands
from kartra_mcp.membrane import cli_output, http_messages, responses
from kartra_mcp.membrane.errors import SERVER_ERRORS
from kartra_mcp.policy import policy_file
from kartra_mcp.server.message_lines import (
    INVALID_REQUEST,
    PARSE_ERROR,
    MessageLines,
    Rejection,
    reject,
)
from kartra_mcp.team import team_file
from kartra_mcp.team.faults import TeamFileError

MAX_ERROR_CHARS = 20_000
"""Longest answer of an error, whatever it quotes."""


def _decode(raw: bytes) -> str:
    return raw.decode("utf-8", "replace")


# ── Messages of a client on stdio ──

_LAST = '{"jsonrpc": "2.0", "id": "last", "method": "ping"}'


def check_wire(raw: bytes) -> None:
    """Each item is an object or gets an error, and no input consumes the message after it."""
    assembler = MessageLines()
    lines = [*raw.split(b"\n"), _LAST.encode()]
    items = [item for line in lines for item in assembler.add(line)]
    assert items[-1] == _LAST
    assert not assembler.flush()
    for item in items:
        rejection = item if isinstance(item, Rejection) else reject(item)
        assert rejection.code in (PARSE_ERROR, INVALID_REQUEST)
        assert "Nothing was executed" in rejection.message


def _make_messages() -> st.SearchStrategy[bytes]:
    params = st.dictionaries(st.text(), JSON, max_size=3)
    message = params.map(lambda one: {"jsonrpc": "2.0", "id": 1, "method": "ping", "params": one})
    indent = st.none() | st.integers(0, 3)
    return st.tuples(message, indent).map(lambda pair: json.dumps(pair[0], indent=pair[1]).encode())


# ── Output of the `membrane` program, and answers of its API ──

STDERR = b"\n--stderr--\n"
"""Separates the two streams in an input; its first line is the exit code or the HTTP status."""


def _split_number(raw: bytes, otherwise: int) -> tuple[int, bytes]:
    first, _, rest = raw.partition(b"\n")
    return (int(first), rest) if first[:3] == first and first.isdigit() else (otherwise, raw)


def check_cli(raw: bytes) -> None:
    """Output is a value that can be passed on, or an error."""
    exit_code, rest = _split_number(raw, 0)
    out, _, err = rest.partition(STDERR)
    try:
        value = cli_output.parse_output(exit_code, out, err)
    except KartraMCPError as problem:
        _judge_error(problem)
    else:
        _judge_value(value)


SECRET = 'tok/En+9="\\x'


def check_rest(raw: bytes) -> None:
    """An answer is a value or an error, without our secret; a failed server proves nothing."""
    status, body = _split_number(raw, 200)
    kept = http_messages.redact(body, SECRET, b"[removed]")
    assert SECRET.encode() not in kept
    try:
        value = http_messages.parse_response(status, kept)
    except KartraMCPError as problem:
        _judge_secrecy(problem.as_dict())
        _judge_error(problem)
        _judge_proof(status, problem)
    else:
        _judge_secrecy(value)
        _judge_value(value)


def _judge_secrecy(shown: Any) -> None:
    assert not any(SECRET in text for text in _strings(shown))


def _judge_proof(status: int, problem: KartraMCPError) -> None:
    """Judge Membrane's own errors: only an error of Kartra's own proves something under a 5xx."""
    if problem.code in ("kartra_error", "already_done"):
        return
    assert status < SERVER_ERRORS or problem.executed is not Executed.NO


def _strings(value: Any) -> list[str]:
    if isinstance(value, list | dict):
        inner = [*value, *value.values()] if isinstance(value, dict) else value
        return [text for one in inner for text in _strings(one)]
    return [value] if isinstance(value, str) else []


def _judge_error(problem: KartraMCPError) -> None:
    assert problem.code in ERROR_CODES
    assert problem.message
    assert problem.remedy
    assert len(json.dumps(problem.as_dict(), allow_nan=False)) <= MAX_ERROR_CHARS


_READERS: tuple[Callable[[Any], object], ...] = (
    responses.list_items,
    responses.get_cursor,
    responses.parse_login,
    responses.parse_run,
    responses.parse_proxy_response,
    lambda value: responses.raise_for_status(responses.parse_proxy_response(value), write=True),
    lambda value: responses.parse_run_log(value) if is_object(value) else None,
)


def _judge_value(value: Any) -> None:
    """Let every reader of answers read it, whichever it was meant for."""
    json.dumps(value, allow_nan=False)
    for read in _READERS:
        try:
            read(value)
        except KartraMCPError as problem:
            _judge_error(problem)


def _make_answers() -> st.SearchStrategy[bytes]:
    names = st.sampled_from(words.FIELDS)
    texts = st.sampled_from(words.VALUES)
    value = st.recursive(
        st.none() | st.booleans() | st.sampled_from([200, 404, 429, 500]) | texts,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=4),
        max_leaves=12,
    )
    number = st.sampled_from([b"0", b"1", b"200", b"401", b"422", b"429", b"500"])
    pairs = st.tuples(number, value | ANY_JSON)
    return pairs.map(lambda pair: pair[0] + b"\n" + json.dumps(pair[1]).encode())


# ── Forms and raw requests ──


def check_form(raw: bytes) -> None:
    """A form that is read is the same when it is written again and read."""
    text = _decode(raw)
    form_encoding.contains_command(text)
    form_encoding.parses_to_command(text)
    try:
        fields = parse_form(text)
        written = encode_form(fields)
    except FormError:
        return
    assert parse_form(written) == fields == php_value(fields)


def _make_forms() -> st.SearchStrategy[bytes]:
    return FORM_FIELDS.map(lambda fields: encode_form(fields).encode())


def check_request(raw: bytes) -> None:
    """Arguments of a raw request that pass as a read hold no other command for any reader."""
    try:
        arguments = json.loads(raw)
    except (ValueError, RecursionError):
        arguments = {"method": "POST", "path": "/api", "raw": _decode(raw)}
    if not is_object(arguments):
        return
    passes(arguments, reject_dedicated_commands)
    request = passes(arguments)
    if request is not None:
        assert not dangers(*sent(request), *texts(list(arguments.values())))


def _make_requests() -> st.SearchStrategy[bytes]:
    body = st.one_of(
        *(st.fixed_dictionaries({kind: FORM_FIELDS | ANY_JSON}) for kind in ("json", "form")),
        st.fixed_dictionaries({"raw": ANY_JSON.map(json.dumps)}),
    )
    whole = body.map(lambda one: {"method": "POST", "path": "/api", **one})
    return whole.map(lambda one: json.dumps(one).encode())


# ── Files ──

_WRITES = (Risk.WRITE, Risk.DESTRUCTIVE, Risk.IRREVERSIBLE)


def check_policy(raw: bytes) -> None:
    """A policy file with any fault lets nothing write; a cap is never below zero."""
    found = policy_file.parse_policy_file(_decode(raw))
    assert all(isinstance(gate, Gate) for _, gate in found.tools)
    for cap in found.caps.values():
        assert Decimal(cap).is_finite()
        assert cap >= 0
    if found.errors:
        assert all(found.gates[risk] is Gate.DENY for risk in _WRITES)
        assert all(why and instead for why, instead in found.errors)


def check_team(raw: bytes) -> None:
    """A team file is read, or refused on one line, which has line and mend of each fault."""
    problem = _get_refusal(_decode(raw))
    if problem is None:
        return
    _judge_error(problem)
    assert problem.message.isprintable()
    for fault in problem.faults:
        assert 1 <= fault.line <= len(raw) + 1
        assert fault.problem
        assert fault.mend


def _get_refusal(text: str) -> TeamFileError | None:
    try:
        team_file.parse_team_file(text)
    except TeamFileError as problem:
        return problem
    return None


_CSV = CsvTarget(
    {
        "email": frozenset({"string"}),
        "first_name": frozenset({"string"}),
        "points": frozenset({"integer"}),
        "amount": frozenset({"number"}),
        "active": frozenset({"boolean", "null"}),
    },
    frozenset({"first_name", "points"}),
)


def check_csv(raw: bytes) -> None:
    """A file becomes items of the tool's arguments alone, each with its line; or it is refused."""
    try:
        text = decode_csv(raw)
        found = make_items(read_csv(text), _CSV, {}, {})
    except RefusedError as problem:
        _judge_error(problem)
        return
    lines = [item.source for item in found.items]
    assert lines == sorted(set(lines))
    assert not set(lines) & found.invalid.keys()
    assert len(lines) + len(found.invalid) <= MAX_ITEMS
    for item in found.items:
        assert item.arguments
        assert item.arguments.keys() <= _CSV.types.keys()
        json.dumps(dict(item.arguments), allow_nan=False)


TARGETS = (
    Target("wire", check_wire, words.JSON_RPC, _make_messages),
    Target("cli", check_cli, words.ANSWERS, _make_answers),
    Target("rest", check_rest, words.ANSWERS, _make_answers),
    Target("form", check_form, words.FORMS, _make_forms),
    Target("request", check_request, tuple(word.encode() for word in WORDS), _make_requests),
    Target("policy", check_policy, words.POLICY),
    Target("team", check_team, words.TEAM),
    Target("csv", check_csv, words.CSV),
    Target("client_json", client_files.check_json, words.CLIENT_JSON),
    Target("client_toml", client_files.check_toml, words.CLIENT_TOML),
    Target("client_yaml", client_files.check_yaml, words.CLIENT_YAML),
)

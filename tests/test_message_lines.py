"""Lines of input become messages, or the errors that answer them."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from random_values import JSON

from kartra_mcp.core.input_size import MAX_MESSAGE_BYTES, MAX_VALUES
from kartra_mcp.server.json_prefix import JsonPrefix, Shape
from kartra_mcp.server.message_lines import (
    EDGE_BYTES,
    MessageLines,
    OversizedLine,
    Rejection,
    reject,
)

PING = '{"jsonrpc": "2.0", "id": 1, "method": "ping"}'
OTHER = '{"jsonrpc": "2.0", "id": 2, "method": "ping"}'
PRETTY = json.dumps(json.loads(PING), indent=2)
NOT_JSON, NO_MESSAGE = -32700, -32600
LARGE = "x" * (MAX_MESSAGE_BYTES // 8)


def read(text: str | bytes) -> list[object]:
    """Return each message as its value, each rejection as its code, in order."""
    raw = text if isinstance(text, bytes) else text.encode()
    assembler = MessageLines()
    items = [item for line in raw.split(b"\n") for item in assembler.add(line)]
    return [judged(item) for item in [*items, *assembler.flush()]]


def judged(item: str | Rejection) -> object:
    if isinstance(item, Rejection):
        return item.code
    try:
        value = json.loads(item)
    except ValueError:
        return reject(item).code
    return value if isinstance(value, dict) and "method" in value else reject(item).code


ONE, TWO = json.loads(PING), json.loads(OTHER)
INPUTS: dict[str, tuple[str | bytes, list[object]]] = {
    "one line": (PING, [ONE]),
    "a byte order mark": ("\ufeff" + PING, [ONE]),
    "a mark before a pretty-printed message": ("\ufeff" + PRETTY, [ONE]),
    "pretty-printed": (PRETTY, [ONE]),
    "pretty-printed with CRLF": (PRETTY.replace("\n", "\r\n"), [ONE]),
    "pretty-printed without indentation": (json.dumps(ONE, indent=0), [ONE]),
    "pretty-printed with blank lines": (PRETTY.replace("\n", "\n\n"), [ONE]),
    "two pretty-printed": (f"{PRETTY}\n{json.dumps(TWO, indent=4)}", [ONE, TWO]),
    "pretty-printed, then one line": (f"{PRETTY}\n{OTHER}", [ONE, TWO]),
    "blank lines": ("\n \n\r\n", []),
    "no JSON": ("garbage", [NOT_JSON]),
    "bytes that are no text": (b"\xff\xfe", [NOT_JSON]),
    "two messages on a line": (PING + OTHER, [NOT_JSON]),
    "a bare word in an object": ('{"a": nonsense}', [NOT_JSON]),
    "an unfinished text": ('{"a": "b', [NOT_JSON]),
    "an unfinished message": (PING[:-1], [NOT_JSON]),
    "an unfinished message before a whole one": (f"{PING[:-1]}\n{OTHER}", [NOT_JSON, TWO]),
    "an unfinished one before garbage": (f"{PING[:-1]}\ngarbage\n{OTHER}", [NOT_JSON, TWO]),
    "an unfinished one before pretty-printed": (f"{PING[:-1]},\n{PRETTY}", [NOT_JSON, ONE]),
    "a value is missing before pretty-printed": (
        f'{{"params":\n{PRETTY}\n{PRETTY}\n{OTHER}',
        [NOT_JSON, ONE, TWO],  # the first pretty-printed message is the missing value
    ),
    "a broken line within pretty-printed": (
        PRETTY.replace(": 1,", ": one,") + "\n" + OTHER,
        [NOT_JSON, TWO],
    ),
    "null": ("null", [NO_MESSAGE]),
    "a batch": (f"[{PING}]", [NO_MESSAGE]),
    "an empty batch": ("[]", [NO_MESSAGE]),
    "a pretty-printed batch": (json.dumps([{"a": 1}, {"b": 2}], indent=2), [NO_MESSAGE]),
    "an object": ("{}", [NO_MESSAGE]),
    "pretty-printed and too large": (
        "\n".join(['{"params": [', *[f'"{LARGE}",'] * 9, "1", "]", "}", OTHER]),
        [NO_MESSAGE, TWO],
    ),
    "pretty-printed with too many values": (
        "\n".join(['{"params": [', *["1,"] * (MAX_VALUES + 1), "1", "]", "}", OTHER]),
        [NO_MESSAGE, TWO],
    ),
}


@pytest.mark.parametrize(("given_input", "expected"), INPUTS.values(), ids=INPUTS)
def test_every_input_is_a_message_or_gets_an_error(
    given_input: str | bytes, expected: list[object]
) -> None:
    assert read(given_input) == expected


IDS: dict[str, tuple[str, object, object]] = {
    "an id and no method": ('{"jsonrpc": "2.0", "id": 7}', 7, None),
    "an id that is text": ('{"id": "a", "method": "ping"}', "a", None),
    "an id that is a fraction": ('{"jsonrpc": "2.0", "id": 1.5, "method": "ping"}', None, None),
    "an id that is true": ('{"jsonrpc": "2.0", "id": true, "method": "ping"}', None, None),
    "an unreadable response": ('{"jsonrpc": "2.0", "id": 7, "result": 1}', None, 7),
    "no JSON": ('{"id": 7', None, None),
    "nested deeply": ('{"id": 7, "a": ' + "[" * 100_000 + "]" * 100_000 + "}", None, None),
}


@pytest.mark.parametrize(("text", "request_id", "failed_question"), IDS.values(), ids=IDS)
def test_an_error_has_only_the_id_of_a_request(
    text: str, request_id: object, failed_question: object
) -> None:
    found = reject(text)
    assert (found.request_id, found.failed_question) == (request_id, failed_question)


CALL = '"method": "tools/call"'
ENDS: dict[str, tuple[str, str, object, bool]] = {
    "id first": (f'{{"jsonrpc": "2.0", "id": 5, {CALL}, "params": {{"a": "', '"}}', 5, True),
    "id last": (f'{{{CALL}, "params": {{"a": "', '"}, "jsonrpc": "2.0", "id": "x"}', "x", True),
    "id and method last": ('{"params": {"a": "', f'"}}, {CALL}, "id": 5}}', 5, True),
    "another method": ('{"id": 5, "method": "ping", "params": {"a": "', '"}}', 5, False),
    "no method, as in a response": ('{"id": 5, "result": {"a": "', '"}}', None, False),
    "an id of the arguments": (
        f'{{{CALL}, "params": {{"id": 5, "a": "',
        '", "id": 6}}',
        None,
        False,
    ),
    "an id in a text": (f'{{{CALL}, "params": {{"a": "', r', \"id\": 6}"}}', None, False),
    "an id in the middle": (
        f'{{{CALL}, "params": {{}}, "id": 5, "b": {{"a": "',
        '"}}',
        None,
        False,
    ),
    "a byte order mark": (f'\ufeff{{"id": 5, {CALL}, "params": {{"a": "', '"}}', 5, True),
}


@pytest.mark.parametrize(("head", "tail", "request_id", "is_call"), ENDS.values(), ids=ENDS)
def test_the_id_of_an_oversized_message_is_found_at_its_ends(
    head: str,
    tail: str,
    request_id: object,
    is_call: bool,  # noqa: FBT001
) -> None:
    ends = [f"{head}{'x' * EDGE_BYTES}".encode(), f"{'x' * EDGE_BYTES}{tail}".encode()]
    [found] = MessageLines().add(OversizedLine(ends[0][:EDGE_BYTES], ends[1][-EDGE_BYTES:]))
    assert isinstance(found, Rejection)
    assert (found.request_id, found.is_large_call) == (request_id, is_call)
    assert "4 MiB" in found.message


@given(params=st.dictionaries(st.text(), JSON), indent=st.integers(0, 3))
def test_a_message_survives_any_pretty_printing(params: dict[str, object], indent: int) -> None:
    message = {"jsonrpc": "2.0", "id": 1, "method": "ping", "params": params}
    for text in (json.dumps(message, indent=indent, ensure_ascii=False), json.dumps(message)):
        assert read(text) == [message]


@given(value=JSON, cut=st.integers(0, 200), noise=st.sampled_from(["", *'{}[],:"x']))
def test_the_check_of_a_prefix_agrees_with_the_parser(value: object, cut: int, noise: str) -> None:
    text = json.dumps(value)
    shape = JsonPrefix().take(text[:cut] + noise)
    try:
        json.loads(text[:cut] + noise)
    except ValueError:
        assert shape is not Shape.COMPLETE
    else:
        assert shape is Shape.COMPLETE

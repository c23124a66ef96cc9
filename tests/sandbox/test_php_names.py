"""Form bodies as PHP reads them."""

from typing import Any

import pytest

from kartra_mcp.sandbox.kartra import endpoint
from kartra_mcp.sandbox.store import php_values


@pytest.mark.parametrize(
    ("body", "found"),
    [
        ("a=1&b=two+words&c=%26", {"a": "1", "b": "two words", "c": "&"}),
        ("actions[0][cmd]=x", {"actions": {"0": {"cmd": "x"}}}),
        ("actions%5B0%5D%5Bcmd%5D=x", {"actions": {"0": {"cmd": "x"}}}),
        ("a[]=1&a[]=2", {"a": {"0": "1", "1": "2"}}),
        ("a[5]=1&a[]=2", {"a": {"5": "1", "6": "2"}}),
        ("a[x]=1&a[]=2", {"a": {"x": "1", "0": "2"}}),
        ("a[ ]=1", {"a": {"0": "1"}}),
        ("a.b=1&c d=2", {"a_b": "1", "c_d": "2"}),
        (" a=1", {"a": "1"}),
        ("a[b=1", {"a_b": "1"}),
        ("a[b][c=1", {"a": {"b": "1"}}),
        ("a[b]c=1", {"a": {"b": "1"}}),
        ("a[b.c]=1", {"a": {"b.c": "1"}}),
        ("[a]=1&=2&b", {"b": ""}),
        ("a=1&a=2", {"a": "2"}),
        ("a=1&a[b]=2", {"a": {"b": "2"}}),
        ("a%00b=1", {"a": "1"}),
        ("a[[b]]=1", {"a": {"[b": "1"}}),
    ],
)
def test_names_with_brackets_dots_gaps_and_blanks(body: str, found: dict[str, Any]):
    assert php_values.parse_form(body) == found


def test_too_deep_names_and_too_many_are_left_out():
    assert php_values.parse_form("a" + "[b]" * 64 + "=1") == {}
    assert len(php_values.parse_form("&".join(f"n{i}=1" for i in range(1001)))) == 1000


@pytest.mark.parametrize(
    ("data", "kind", "found"),
    [
        ('{"a": 1}', "", {"a": 1}),
        ("a=1", "", {"a": "1"}),
        ('{"a": 1}', "application/json", {"a": 1}),
        ("a=1", "application/json; charset=utf-8", None),
        ('{"a":1}', "application/x-www-form-urlencoded", {'{"a":1}': ""}),
        ({"a": 1}, "application/x-www-form-urlencoded", {"a": 1}),
        ("a=1", "multipart/form-data", {}),
        ("[" * 100_000, "application/json", None),
        (5, "", {}),
    ],
)
def test_the_content_type_decides_and_else_the_looks(data: object, kind: str, found: object):
    assert endpoint.decode(data, kind) == found


@pytest.mark.parametrize(
    ("value", "text"), [(None, ""), (True, "1"), (False, ""), (1.0, "1"), (1.5, "1.5"), ([], "")]
)
def test_scalars_print_as_in_php(value: object, text: str):
    assert php_values.text(value) == text

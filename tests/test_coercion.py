"""Lists and objects that are given as text, and null or "" that stands for an absent field."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from kartra_mcp.core.json_types import json_type
from kartra_mcp.schemas.coercion import MAX_JSON_TEXT, coerce_numbers, drop_absent
from kartra_mcp.schemas.portable import make_portable

TEXT = {"type": "string"}
WHOLE = {"type": "integer"}
NUMBER = {"type": "number"}
NULL = {"type": "null"}
LIST = {"type": "array"}
OBJECT = {"type": "object"}


def of(*required: str, **properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(required)}


def coerced(schema: Any, value: Any) -> Any:
    return coerce_numbers(make_portable(of(a=schema)), {"a": value}, frozenset(), frozenset())["a"]


# ── A list or an object as its JSON text ──

PARSED: Mapping[str, tuple[Any, str, Any]] = {
    "a list": (LIST, "[1, 2]", [1, 2]),
    "an object": (OBJECT, '{"x": 1}', {"x": 1}),
    "an object behind white space": (OBJECT, ' \n{"x": 1} ', {"x": 1}),
    "a list that may be null": ({"type": ["array", "null"]}, "[1]", [1]),
    "an object where either is declared": ({"type": ["array", "object"]}, '{"x": 1}', {"x": 1}),
    "a list where either is declared": ({"type": ["array", "object"]}, "[1]", [1]),
    "an object of which only the fields are declared": (
        {"properties": {"x": WHOLE}},
        '{"x": 1}',
        {"x": 1},
    ),
    "an object whose branch declares the fields": (
        {"anyOf": [{"properties": {"x": WHOLE}}, {"properties": {"y": WHOLE}}]},
        '{"y": 1}',
        {"y": 1},
    ),
    "a list in a list": ({"type": "array", "items": LIST}, "[[1]]", [[1]]),
    "an id inside, which is coerced too": (of(lead_id=WHOLE), '{"lead_id": "7"}', {"lead_id": 7}),
}


@pytest.mark.parametrize("case", PARSED)
def test_a_list_or_an_object_may_be_given_as_its_text(case: str):
    schema, text, expected = PARSED[case]
    assert coerced(schema, text) == expected


KEPT: Mapping[str, tuple[Any, str]] = {
    "a text that is declared": (TEXT, "[1]"),
    "a text or a list": ({"type": ["string", "array"]}, "[1]"),
    "no declared type": ({}, "[1]"),
    "only null": (NULL, "[1]"),
    "an object for a list": (LIST, '{"x": 1}'),
    "a list for an object": (OBJECT, "[1]"),
    "a list for fields": ({"properties": {"x": WHOLE}}, "[1]"),
    "broken JSON": (LIST, "[1"),
    "more behind the list": (LIST, "[1] 2"),
    "a repeated name": (OBJECT, '{"x": 1, "x": 1}'),
    "a repeated name, deeper": (LIST, '[{"x": 1, "x": 2}]'),
    "NaN": (LIST, "[NaN]"),
    "Infinity": (LIST, "[-Infinity]"),
    "a number": (LIST, "7"),
    "a quoted list": (LIST, '"[1]"'),
    "nothing": (LIST, ""),
}


@pytest.mark.parametrize("case", KEPT)
def test_a_text_that_is_not_exactly_the_declared_list_or_object_is_unchanged(case: str):
    schema, text = KEPT[case]
    assert coerced(schema, text) == text


def test_text_that_nests_deeper_than_the_parser_reads_is_unchanged():
    text = "[" * 100_000 + "]" * 100_000
    assert coerced(LIST, text) == text


def test_the_longest_text_is_parsed_and_a_longer_one_is_not():
    longest = "[1]".ljust(MAX_JSON_TEXT)
    assert coerced(LIST, longest) == [1]
    assert coerced(LIST, f"{longest} ") == f"{longest} "


WRAPPERS: Mapping[str, Callable[[Any], Any]] = {
    "objects": lambda inner: {"a": inner},
    "lists": lambda inner: [inner],
}


@pytest.mark.parametrize("kind", WRAPPERS)
def test_a_value_that_nests_deeper_than_any_call_is_left_for_validation_to_refuse(kind: str):
    value: Any = "7"
    for _ in range(5_000):
        value = WRAPPERS[kind](value)
    assert json_type(coerced({}, value)) == json_type(value)


NUMBERS: Mapping[str, tuple[Any, Any, Any]] = {
    "a whole float stays one where numbers are declared": (NUMBER, 7.0, 7.0),
    "a whole float for a whole number": (WHOLE, 7.0, 7),
    "text for a number": (NUMBER, "7", 7),
    "a float that is not finite": (TEXT, float("inf"), float("inf")),
    "a whole number with zeros": (TEXT, 1_000, "1000"),
    "a whole float with zeros": (TEXT, 1_000.0, "1000"),
}


@pytest.mark.parametrize("case", NUMBERS)
def test_only_the_type_of_an_id_changes(case: str):
    schema, value, expected = NUMBERS[case]
    made = make_portable(of(**{"tag-id": schema}))
    found = coerce_numbers(made, {"tag-id": value}, frozenset({"tag_id"}), frozenset())["tag-id"]
    assert (found, type(found)) == (expected, type(expected))


def test_an_id_is_found_under_the_name_that_is_advertised():
    made = make_portable(of(**{"e.id": WHOLE}))
    (shown,) = made.renames
    ids: frozenset[str] = frozenset()
    assert coerce_numbers(made, {shown: "7"}, ids, ids) == {shown: 7}
    assert coerce_numbers(made, {"e.id": "7"}, ids, ids) == {"e.id": 7}
    assert coerce_numbers(made, {"other_id": "7"}, ids, ids) == {"other_id": "7"}


# ── null and "" for an absent field ──

ABSENT: Mapping[str, tuple[Any, Any]] = {
    "null for a text": (TEXT, None),
    "null for a list": (LIST, None),
    "null for a whole number": (WHOLE, None),
    "null for one of two types": ({"type": ["string", "integer"]}, None),
    "an empty whole number": (WHOLE, ""),
    "an empty number": (NUMBER, ""),
    "an empty number of either kind": ({"type": ["integer", "number"]}, ""),
}
MEANT: Mapping[str, tuple[Any, Any]] = {
    "null where it is declared": ({"type": ["string", "null"]}, None),
    "null where nothing is declared": ({}, None),
    "an empty text": (TEXT, ""),
    "an empty text or number": ({"type": ["string", "integer"]}, ""),
    "an empty list": (LIST, ""),
    "an empty value where nothing is declared": ({}, ""),
    "an empty number that may be null": ({"type": ["integer", "null"]}, ""),
    "false": (WHOLE, False),
    "zero": (WHOLE, 0),
    "a blank": (WHOLE, " "),
    "a text": (TEXT, "x"),
}


@pytest.mark.parametrize("case", ABSENT)
def test_null_and_an_empty_number_stand_for_an_absent_field(case: str):
    schema, value = ABSENT[case]
    made = make_portable(of(a=schema, b=TEXT))
    assert drop_absent(made, {"a": value, "b": "x"}, None) == {"b": "x"}
    assert drop_absent(made, {"a": value}, frozenset({"a"})) == {}
    assert drop_absent(made, {"a": value}, frozenset({"b"})) == {"a": value}


@pytest.mark.parametrize("case", MEANT)
def test_a_value_that_may_be_meant_is_kept(case: str):
    schema, value = MEANT[case]
    given = {"a": value, "b": None}
    assert drop_absent(make_portable(of(a=schema, b=TEXT)), given, None) == {"a": value}


@pytest.mark.parametrize("value", [None, ""])
def test_a_required_or_an_undeclared_field_is_kept(value: Any):
    made = make_portable(of("a", a=WHOLE))
    assert drop_absent(made, {"a": value}, None) == {"a": value}
    assert drop_absent(made, {"b": value}, None) == {"b": value}


def test_a_field_is_absent_under_the_advertised_name_and_its_own():
    made = make_portable(of(**{"e.step-no": WHOLE, "e_other": TEXT}))
    shown = next(name for name, own in made.renames.items() if own == "e.step-no")
    for name in (shown, "e.step-no"):
        assert drop_absent(made, {name: None}, None) == {}
        assert drop_absent(made, {name: ""}, frozenset({"e.stepno"})) == {}
        assert drop_absent(made, {name: ""}, frozenset({"e.step-no"})) == {name: ""}


def test_arguments_without_an_absent_field_are_unchanged():
    given = {"a": 1, "b": json.loads('{"c": null}')}
    assert drop_absent(make_portable(of(a=WHOLE, b=OBJECT)), given, None) == given

"""Membrane's schemas become schemas that every client takes, with nothing lost."""

import json
import math
import re

import mcp_types
import pytest
from examples import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from mcp_types.methods import serialize_server_result

from kartra_mcp.core.errors import RefusedError
from kartra_mcp.schemas.advertised import accepts_anything
from kartra_mcp.schemas.argument_errors import iter_errors
from kartra_mcp.schemas.arguments import validate
from kartra_mcp.schemas.portable import LARGEST, make_portable

ROOT_COMBINATORS = {
    *("$ref", "anyOf", "oneOf", "allOf", "not", "if", "then", "else", "enum", "const"),
    *("dependentSchemas", "dependentRequired", "$defs", "definitions", "$schema", "$id"),
}
OWN_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,47}")


def of(**properties):
    return {"type": "object", "properties": properties}


def shown(schema):
    """The advertised form of a property that Membrane describes with `schema`."""
    return make_portable(of(field=schema)).advertised["properties"]["field"]


def schemas_in(node):
    """Every schema inside a schema, the positions of data left out."""
    yield node
    for key, value in node.items() if isinstance(node, dict) else ():
        if key in {"properties", "patternProperties", "dependentSchemas"}:
            for inner in value.values():
                yield from schemas_in(inner)
        elif key in {"anyOf", "oneOf", "allOf", "prefixItems"}:
            for inner in value:
                yield from schemas_in(inner)
        elif key in {"items", "not", "if", "then", "else", "contains", "propertyNames"}:
            yield from schemas_in(value)


def assert_clean(schema):
    """Whatever any client of facts 6.3 chokes on is not there."""
    assert schema["type"] == "object"
    assert isinstance(schema["properties"], dict)
    assert not ROOT_COMBINATORS & schema.keys()
    assert len(json.dumps(schema, allow_nan=False)) <= LARGEST
    Draft202012Validator.check_schema(schema)
    for inner in schemas_in(schema):
        assert isinstance(inner, dict)
        assert inner
        assert isinstance(inner.get("type", ""), str)
        assert "$ref" not in inner
        assert "const" not in inner
        assert inner.get("type") != "array" or inner["items"]
        assert all(OWN_NAME.fullmatch(name) for name in inner.get("properties", {}))
    assert_crosses_the_wire(schema)


def assert_crosses_the_wire(schema):
    tool = mcp_types.Tool(name="kartra_x", input_schema=schema)
    body = mcp_types.ListToolsResult(tools=[tool]).model_dump(
        by_alias=True, mode="json", exclude_none=True
    )
    for version in ("2025-11-25", "2026-07-28"):
        more = {"resultType": "complete", "ttlMs": 0, "cacheScope": "private"}
        serialize_server_result("tools/list", version, body | (more if version > "2026" else {}))
    json.dumps(body, ensure_ascii=False).encode()


ANY = accepts_anything()


def nested(levels):
    found = {"type": "object"}
    for _ in range(levels):
        found = of(**{"in": found})
    return found


def cyclic():
    found: dict[str, object] = {"type": "object"}
    found["properties"] = {"self": found}
    return found


DEEP = nested(3_000)
MUTUAL = {
    "definitions": {
        f"d{i}": of(**{f"p{j}": {"$ref": f"#/definitions/d{j}"} for j in range(5)})
        for i in range(5)
    },
    **of(first={"$ref": "#/definitions/d0"}, amount={"type": "number"}),
}

AWKWARD = [
    None,
    True,
    False,
    [],
    "text",
    5,
    {},
    {"$schema": "x"},
    {"type": "string"},
    {"type": ["object", "null"]},
    {"type": "array", "items": {}},
    {"type": "object", "properties": None, "required": None},
    {"type": "object", "properties": ["a"], "required": "a"},
    {"type": "object", "required": [1, None, "gone", "gone"]},
    {"$ref": "#"},
    {"$ref": "https://example.com/x.json"},
    {"$ref": {"$var": "$.x"}},
    {"$ref": "#/definitions/L", "definitions": {"L": of(a={"$ref": "#/definitions/L"})}},
    {"anyOf": [{"required": ["a"]}, {"required": ["b"]}], **of(a={}, b=True)},
    {"allOf": [of(a={"type": "string"}), {"required": ["a"]}], "not": {"required": ["z"]}},
    {"if": {"required": ["a"]}, "then": of(b=True), "else": False, **of(a={})},
    {"enum": [{"a": 1}], "const": {"a": 1}, **of(a={})},
    of(a=True, b=False, c={}, d=None, e=5, f=[]),
    of(a={"type": "strnig"}, b={"type": "string "}, c={"type": ["string", "x", "null"]}),
    of(a={"type": "array"}, b={"type": "array", "items": True}, c={"items": [{}, True]}),
    of(a={"type": "array", "items": False, "prefixItems": [True, {"type": "string"}]}),
    of(a={"const": 1}, b={"const": None}, c={"enum": [1, "a", None, 2.5, [1], {}]}),
    of(a={"enum": []}, b={"enum": "x"}, c={"type": "integer", "enum": ["1", "2"]}),
    of(a={"pattern": "["}, b={"pattern": "[[a]"}, c={"pattern": 5}, d={"pattern": r"\p{L}"}),
    of(a={"minimum": math.nan, "maximum": math.inf, "minLength": -1, "multipleOf": 0}),
    of(a={"minimum": 10**400, "default": 10**5000, "exclusiveMinimum": True}),
    of(a={"default": {"$var": "$.x"}}, b={"default": math.nan}, c={"examples": "one"}),
    of(**{"": {}, "_id": {}, "a.b": {}, "1st": {}, "a b": {}, "a-b": {}, "a_b": {}, "é": {}}),
    of(**{"x" * 200: {}, "x" * 201: {}, "_": {}, "__": {}, "lead[email]": {}, "\ud800": {}}),
    of(a={"description": "\ud800 half", "title": 5, "enum": ["\udfff"]}),
    of(a={"not": True, "anyOf": [], "allOf": [None], "oneOf": [True, {"type": "string"}]}),
    of(a={"dependencies": {"x": ["y"], "z": of(w={})}, "propertyNames": {"pattern": "["}}),
    of(a={"patternProperties": {"[": {}, "^x": True, "^y": False}}),
    {**of(a={}), "patternProperties": {"^x_": {"type": "string"}}, "minProperties": 1},
    DEEP,
    cyclic(),
    MUTUAL,
    of(**{f"p{i}": {"type": "string", "description": "d" * 3_000} for i in range(100)}),
    of(**{f"p{i}": of(**{f"q{j}": {"type": "string"} for j in range(60)}) for i in range(60)}),
    of(**{f"p{i}": {"type": "string", "pattern": "a" * 50} for i in range(2_000)}),
    of(a={"enum": [f"value {i}" for i in range(50_000)]}),
    {**of(a={"type": "string"}), "description": "d" * 100_000, "default": {"x": "y" * 100_000}},
]


@pytest.mark.parametrize("number", range(len(AWKWARD)))
def test_an_awkward_schema_becomes_one_that_every_client_takes(number):
    raw = AWKWARD[number]
    made = make_portable(raw)
    assert_clean(made.advertised)
    Draft202012Validator.check_schema(made.enforced)
    list(Draft202012Validator(made.enforced).iter_errors({"a": {"b": [1]}, "first": {"p1": {}}}))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=20,
)
WORDS = """
    type properties items anyOf oneOf allOf not if then else enum const required $ref $defs default
    additionalProperties patternProperties dependencies dependentSchemas pattern format minimum
    exclusiveMinimum minLength allowCustom nullable description prefixItems contains multipleOf
    propertyNames examples additionalItems definitions
"""
KEYWORDS = st.sampled_from(WORDS.split())
TYPES = st.sampled_from(["string", "integer", "number", "object", "array", "null", "boolean", "x "])
REFS = st.sampled_from(["#", "#/properties/a", "#/$defs/a", "http://x", "#/anyOf/0", "#a"])
SCHEMA_LIKE = st.recursive(
    JSON | TYPES | REFS,
    lambda inner: (
        st.dictionaries(KEYWORDS | st.sampled_from(["a", "a-b", "_a"]), inner, max_size=5)
        | st.lists(inner, max_size=3)
    ),
    max_leaves=30,
)


@settings(max_examples=examples(50), deadline=None)
@given(JSON | SCHEMA_LIKE)
def test_no_json_makes_it_raise_and_what_it_makes_is_always_clean(raw):
    made = make_portable(raw)
    assert_clean(made.advertised)
    Draft202012Validator.check_schema(made.enforced)
    list(Draft202012Validator(made.enforced).iter_errors({"a": {"a": [{"a": 1}]}, "_a": "x"}))


@settings(max_examples=examples(25), deadline=None)
@given(st.lists(st.text(max_size=60), unique=True, max_size=12))
def test_renames_are_unique_stable_and_lead_back(names):
    made = make_portable(of(**{name: {"type": "string"} for name in names}))
    again = make_portable(of(**{name: {"type": "string"} for name in reversed(names)}))
    assert made.renames == again.renames
    back = [made.renames.get(name, name) for name in made.advertised["properties"]]
    assert sorted(back) == sorted(names)
    assert made.declared == set(names)


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (True, ANY),
        ({}, ANY),
        ({"description": "free"}, {"description": "free", **ANY}),
        ({"type": "string "}, {"type": "string"}),
        ({"type": "strnig"}, ANY),
        ({"type": "string", "format": "datetime"}, {"type": "string", "format": "date-time"}),
        ({"type": "string", "format": "fancy"}, {"type": "string"}),
        ({"type": "string", "pattern": "["}, {"type": "string"}),
        ({"type": "string", "pattern": "^a"}, {"type": "string", "pattern": "^a"}),
        ({"type": "array"}, {"type": "array", "items": ANY}),
        ({"type": "string", "const": "a"}, {"type": "string", "enum": ["a"]}),
        ({"const": 1}, {"type": "integer", "enum": [1]}),
        ({"type": "integer", "enum": ["1", "2"]}, {"type": "integer", "enum": [1, 2]}),
        (
            {"type": ["string", "null"], "minLength": 1, "description": "d"},
            {"description": "d", "anyOf": [{"type": "string", "minLength": 1}, {"type": "null"}]},
        ),
        (
            {"enum": ["a", 1, None]},
            {
                "anyOf": [
                    {"type": "string", "enum": ["a"]},
                    {"type": "integer", "enum": [1]},
                    {"type": "null"},
                ]
            },
        ),
        (
            {"type": "string", "nullable": True},
            {"anyOf": [{"type": "string"}, {"type": "null"}]},
        ),
        (
            {"type": "string", "enum": ["a", "b"], "allowCustom": True, "description": "Which."},
            {"type": "string", "description": "Which. Known values: a, b"},
        ),
        ({"type": "string", "default": {"$var": "$.x"}}, {"type": "string"}),
        (
            {"type": "string", "default": {"$var": 1}, "title": "T"},
            {"type": "string", "title": "T"},
        ),
        (
            {"type": "string", "x-a": 1, "referenceUdm": "u", "isSensitive": True, "section": "s"},
            {"type": "string"},
        ),
        (
            {"type": "integer", "minimum": 1, "exclusiveMinimum": True, "examples": [2]},
            {"type": "integer", "exclusiveMinimum": 1, "examples": [2]},
        ),
        (
            {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a", "b", 3]},
            {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]},
        ),
        ({"type": "string", "readOnly": True}, {"type": "string", "readOnly": True}),
    ],
)
def test_a_property_is_shown_in_portable_words(raw, expected):
    assert shown(raw) == expected


def test_a_property_that_must_not_be_given_is_not_shown_but_enforced():
    made = make_portable(of(a=False, b={"type": "string"}))
    assert list(made.advertised["properties"]) == ["b"]
    assert not Draft202012Validator(made.enforced).is_valid({"a": 1})


def test_a_foreign_reference_accepts_any_value_and_reports_so():
    found = shown({"$ref": "https://example.com/schema.json"})
    assert found["anyOf"] == ANY["anyOf"]
    assert found["description"]


def test_a_local_reference_is_inlined_with_its_sibling_keywords():
    raw = of(a={"$ref": "#/$defs/a~1b", "description": "Here."})
    raw["$defs"] = {"a/b": {"type": "string", "minLength": 2, "description": "There."}}
    shown_a = make_portable(raw).advertised["properties"]["a"]
    assert shown_a == {"type": "string", "minLength": 2, "description": "Here."}


def test_recursion_is_unrolled_twice_then_an_object_with_a_description():
    raw = of(tree={"$ref": "#/definitions/T"})
    raw["definitions"] = {"T": of(child={"$ref": "#/definitions/T"})}
    once = make_portable(raw).advertised["properties"]["tree"]
    last = once["properties"]["child"]["properties"]["child"]
    assert last.keys() == {"type", "description", "additionalProperties"}
    assert last["type"] == "object"


def test_mutual_recursion_costs_no_later_property():
    assert set(make_portable(MUTUAL).advertised["properties"]) == {"first", "amount"}


def test_root_branches_are_folded_into_optional_properties_and_still_enforced():
    made = make_portable(
        {
            "type": "object",
            "properties": {"note": {"type": "string"}},
            "anyOf": [
                {"properties": {"email": {"type": "string"}}, "required": ["email"]},
                {"properties": {"id": {"type": "integer"}}, "required": ["id"]},
            ],
            "allOf": [{"properties": {"step": {"type": "integer"}}, "required": ["step"]}],
        }
    )
    assert set(made.advertised["properties"]) == {"note", "email", "id", "step"}
    assert made.advertised["required"] == ["step"]
    assert "one of: email; id" in made.advertised["description"]
    assert Draft202012Validator(made.enforced).is_valid({"id": 1, "step": 1})
    assert not Draft202012Validator(made.enforced).is_valid({"step": 1})


def test_a_property_of_several_branches_shows_all_its_forms():
    raw = {"oneOf": [of(kind={"const": "a"}), of(kind={"const": "b"})]}
    kinds = make_portable(raw).advertised["properties"]["kind"]["anyOf"]
    assert [kind["enum"] for kind in kinds] == [["a"], ["b"]]


@pytest.mark.parametrize(
    ("raw", "missing", "is_open"),
    [
        (None, True, True),
        ({}, True, True),
        ({"title": "Input"}, True, True),
        ({"type": "string"}, True, True),
        ({"type": "object"}, False, False),
        (of(a={}), False, False),
        ({**of(a={}), "additionalProperties": False}, False, False),
        ({**of(a={}), "additionalProperties": True}, False, True),
        ({**of(a={}), "additionalProperties": {"type": "string"}}, False, True),
        ({"$ref": "https://example.com/x"}, False, True),
    ],
)
def test_whether_a_schema_says_anything_and_lets_other_names_in(raw, missing, is_open):
    made = make_portable(raw)
    assert (made.missing, made.open) == (missing, is_open)


def test_a_branch_does_not_open_what_the_schema_closes():
    """Bug: a name was let through that the advertised schema denies, and so does Kartra."""
    branch = {"type": "object", "additionalProperties": {}}
    raw = {**of(a={}), "additionalProperties": False, "if": branch, "then": {}}
    made = make_portable(raw)
    assert not made.open
    with pytest.raises(RefusedError, match="b: is not known"):
        validate(made, {"b": None}, strict=False)


def test_a_looser_branch_never_makes_one_of_stricter():
    raw = of(a={"oneOf": [{"$ref": "https://x"}, {"type": "string"}]})
    assert Draft202012Validator(make_portable(raw).enforced).is_valid({"a": "text"})


def test_a_looser_condition_never_makes_not_stricter():
    raw = of(a={"type": "string", "not": {"pattern": "["}})
    assert Draft202012Validator(make_portable(raw).enforced).is_valid({"a": "text"})


def test_names_are_changed_at_any_depth_and_required_with_them():
    inner = {**of(**{"e-mail": {"type": "string"}}), "required": ["e-mail"]}
    made = make_portable(of(_lead=inner, lead={"type": "array", "items": inner}))
    assert made.renames["e_mail"] == "e-mail"
    assert made.advertised["properties"]["lead"]["items"]["required"] == ["e_mail"]
    assert made.enforced["properties"]["lead"]["items"]["required"] == ["e-mail"]
    assert "_lead" in made.renames.values()
    assert len(made.advertised["properties"]) == 2


def test_deep_nesting_ends_in_a_permissive_object():
    depth, node = 0, make_portable(DEEP).advertised
    while "properties" in node:
        depth, node = depth + 1, node["properties"]["in"]
    assert (depth, node["type"]) == (12, "object")


def test_a_large_schema_loses_long_descriptions_before_anything_else():
    raw = of(**{f"p{i}": {"type": "string", "description": "d" * 900} for i in range(100)})
    properties = make_portable(raw).advertised["properties"]
    assert all(len(item["description"]) == 200 for item in properties.values())


def test_a_large_schema_keeps_the_nested_objects_it_has_room_for():
    small = of(q={"type": "string"})
    large = of(**{f"q{i}": {"type": "string", "title": "t" * 200} for i in range(400)})
    properties = make_portable(of(small=small, large=large)).advertised["properties"]
    assert properties["small"] == small
    assert properties["large"] == {"type": "object"}


def test_a_schema_without_anything_odd_is_shown_as_it_is():
    raw = {
        "type": "object",
        "title": "Refund",
        "description": "Refunds.",
        "properties": {
            "transaction_id": {"type": "string", "minLength": 1, "description": "Which."},
            "amount": {"type": "number", "exclusiveMinimum": 0, "default": 5, "examples": [97]},
            "tags": {"type": "array", "items": {"type": "string", "enum": ["a", "b"]}},
            "lead": {**of(email={"type": "string", "format": "email"}), "required": ["email"]},
        },
        "required": ["transaction_id"],
        "additionalProperties": False,
    }
    assert make_portable(raw).advertised == raw


LEGAL = {
    "null beside a pattern": (
        of(a={"type": ["string", "null"], "anyOf": [{"enum": ["a"]}, {"pattern": "^b"}]}),
        {"a": None},
    ),
    "a list of lists": (of(a={}), {"a": [[[1]]]}),
    "a property of another root branch": (
        {
            "type": "object",
            "anyOf": [
                {**of(id={"type": "integer"}), "required": ["id"]},
                {**of(email={"type": "string"}), "required": ["email"]},
            ],
        },
        {"email": "a", "id": ["any"]},
    ),
    "a branch without a rule": (
        {"type": "object", "anyOf": [of(a={"type": "integer"}), of(a={})]},
        {"a": "x"},
    ),
    "a keyword of another type": (of(a={"pattern": "^a"}, b={"properties": {}}), {"a": 5, "b": 5}),
    "cents": (of(a={"type": "number", "multipleOf": 0.01}), {"a": 19.99}),
    "one of two patterns": (
        of(a={"type": "string", "oneOf": [{"pattern": "^a"}, {"pattern": "^b"}]}),
        {"a": "b"},
    ),
    "not a pattern": (of(a={"not": {"pattern": "^a"}}), {"a": "b"}),
    "a condition": (of(a={"if": {"minimum": 5}, "then": {"maximum": 6}}), {"a": 4}),
}


@pytest.mark.parametrize("case", LEGAL)
def test_a_client_that_validates_blocks_no_legal_call(case):
    raw, arguments = LEGAL[case]
    made = make_portable(raw)
    assert not list(iter_errors(made, arguments, {}))
    assert Draft202012Validator(made.advertised).is_valid(arguments)


TYPED = ["string", "integer", "number", "object", "array", "null"]
RULES = st.recursive(
    st.fixed_dictionaries(
        {},
        optional={
            "type": st.sampled_from([*TYPED, ["string", "null"], ["array", "integer"]]),
            "enum": st.lists(st.sampled_from(["a", 1, None, True, 1.5, [1]]), min_size=1),
            "pattern": st.sampled_from(["^a", "b$"]),
            "minimum": st.integers(-2, 2),
            "minLength": st.integers(0, 2),
            "nullable": st.booleans(),
        },
    ),
    lambda inner: st.fixed_dictionaries(
        {},
        optional={
            "type": st.sampled_from(["string", "object", "array"]),
            "properties": st.dictionaries(st.sampled_from("ab"), inner, max_size=2),
            "required": st.lists(st.sampled_from("ab"), max_size=1),
            "items": inner,
            "additionalProperties": inner | st.booleans(),
            "contains": inner,
            "dependentSchemas": st.dictionaries(st.sampled_from("ab"), inner, max_size=1),
            **{key: st.lists(inner, min_size=1, max_size=2) for key in ("anyOf", "oneOf", "allOf")},
            **dict.fromkeys(("not", "if", "then", "else"), inner),
        },
    ),
    max_leaves=8,
)
VALUES = st.recursive(
    st.sampled_from([None, True, 0, 1, 1.5, "", "a", "ab", -3]),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("ab"), inner, max_size=2)
    ),
    max_leaves=6,
)


@settings(max_examples=examples(40), deadline=None)
@given(RULES, RULES, st.dictionaries(st.sampled_from("ab"), VALUES, max_size=2))
def test_the_advertised_schema_accepts_whatever_is_enforced(first, root, arguments):
    raw = {**root, "type": "object", "properties": {**root.get("properties", {}), "a": first}}
    made = make_portable(raw)
    try:
        validate(made, arguments, strict=False)
    except RefusedError:
        return
    assert not list(Draft202012Validator(made.advertised).iter_errors(arguments)), made.advertised

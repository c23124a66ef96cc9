"""Arguments are accepted exactly as the action declares them, and refused in words."""

import math

import pytest
from examples import examples
from hypothesis import given, settings
from hypothesis import strategies as st

from kartra_mcp.core.errors import RefusedError
from kartra_mcp.schemas.argument_errors import format_names, shorten
from kartra_mcp.schemas.arguments import MAX_NAMES, limit_names, validate
from kartra_mcp.schemas.portable import make_portable


def of(*required, **properties):
    made = {"type": "object", "properties": properties}
    return {**made, "required": list(required)} if required else made


TEXT = {"type": "string"}
WHOLE = {"type": "integer"}
NUMBER = {"type": "number"}


def refusal(schema, arguments, *, strict=False, extra=frozenset()):
    with pytest.raises(RefusedError) as caught:
        validate(make_portable(schema), arguments, strict=strict, extra=extra)
    assert caught.value.code == "invalid_arguments"
    assert caught.value.remedy.endswith("Nothing was done.")
    return caught.value.message.removeprefix("Invalid arguments for this tool: ").removesuffix(".")


def accepted(schema, arguments, *, strict=False, extra=frozenset()):
    return validate(make_portable(schema), arguments, strict=strict, extra=extra)


STEP = of("step", email=TEXT, step=WHOLE)


def test_the_message_names_each_field_and_what_was_expected():
    with pytest.raises(RefusedError) as caught:
        validate(make_portable(STEP), {"email": 5}, strict=False)
    message = caught.value.message
    assert message.startswith("Invalid arguments for this tool: ")
    assert "email: a string is expected, got 5" in message
    assert "step: is required" in message


@pytest.mark.parametrize(
    ("schema", "arguments", "message"),
    [
        (of(a=TEXT), {"a": None}, "a: a string is expected, got null"),
        (of(a=TEXT), {"a": {"b": 1}}, "a: a string is expected, got an object"),
        (of(a=WHOLE), {"a": "101abc"}, 'a: a whole number is expected, got "101abc"'),
        (of(a=WHOLE), {"a": True}, "a: a whole number is expected, got true"),
        (of(a=NUMBER), {"a": []}, "a: a number is expected, got a list"),
        (of(a={"type": ["string", "null"]}), {"a": 1}, "a: a string or null is expected, got 1"),
        (of(a={"enum": ["x", "y"]}), {"a": "z"}, 'a: one of "x", "y" is expected, got "z"'),
        (of(a={"const": "x"}), {"a": "z"}, 'a: "x" is expected, got "z"'),
        (of(a={**WHOLE, "minimum": 3}), {"a": 1}, "a: at least 3 is expected, got 1"),
        (
            of(a={**TEXT, "maxLength": 1}),
            {"a": ".."},
            'a: at most 1 characters are expected, got ".."',
        ),
        (
            of(a={"type": "array", "items": WHOLE}),
            {"a": [1, "b"]},
            'a[1]: a whole number is expected, got "b"',
        ),
        (of(a=of("b", b=TEXT)), {"a": {}}, "a.b: is required"),
        (of(a=False), {"a": 1}, "a: must not be given"),
        (of(**{"e-mail": TEXT}), {"e_mail": 1}, "e_mail: a string is expected, got 1"),
        (
            of(a={"anyOf": [TEXT, {"type": "null"}]}),
            {"a": 1},
            "a: a string or null is expected, got 1",
        ),
        (
            of(a={**NUMBER, "multipleOf": 0.01}),
            {"a": 1.005},
            "a: a multiple of 0.01 is expected, got 1.005",
        ),
        (
            {**of(email=TEXT, id=WHOLE), "anyOf": [{"required": ["email"]}, {"required": ["id"]}]},
            {},
            "one of: email; id is expected",
        ),
        (
            {**of(email=TEXT, id=WHOLE), "oneOf": [{"required": ["email"]}, {"required": ["id"]}]},
            {"email": "a", "id": 1},
            "exactly one of: email; id is expected",
        ),
        (
            {"anyOf": [of("email", email=TEXT), of("id", id=WHOLE)]},
            {"id": "x"},
            'id: a whole number is expected, got "x"',
        ),
        (
            {**of(a=TEXT, b=TEXT), "dependentRequired": {"a": ["b"]}},
            {"a": "x"},
            "b: is required together with a",
        ),
    ],
)
def test_a_value_that_does_not_fit_is_explained(schema, arguments, message):
    assert refusal(schema, arguments) == message


def test_five_fields_are_named_and_the_rest_counted():
    schema = of(**{f"f{i}": TEXT for i in range(8)})
    message = refusal(schema, dict.fromkeys(schema["properties"], 1))
    assert message.count("a string is expected") == 5
    assert message.endswith("and 3 more")


@pytest.mark.parametrize(("count", "rest"), [(5, ""), (6, " and 1 more")])
def test_the_rest_is_counted_only_if_there_is_one(count, rest):
    schema = of(**{f"f{i}": TEXT for i in range(count)})
    message = refusal(schema, dict.fromkeys(schema["properties"], 1))
    assert message.endswith(f"a string is expected, got 1{rest}")


@pytest.mark.parametrize("length", [60, 61])
def test_a_value_is_cut_at_sixty_characters(length):
    shown = "y" * 60 if length == 60 else "y" * 59 + "…"
    assert shorten("y" * length) == shown


def test_a_value_is_quoted_in_its_own_letters():
    assert refusal(of(a=WHOLE), {"a": "Zoë"}) == 'a: a whole number is expected, got "Zoë"'


@pytest.mark.parametrize(("count", "rest"), [(30, ""), (31, " and 1 more")])
def test_at_most_thirty_names_are_listed(count, rest):
    names = [f"f{i:02}" for i in range(count)]
    listed = f"known are {', '.join(names[:30])}{rest}"
    assert format_names(names) == listed
    assert refusal(of(**dict.fromkeys(names, TEXT)), {"zzz": 1}) == f"zzz: is not known; {listed}"


@pytest.mark.parametrize(("count", "rest"), [(20, ""), (21, " and 1 more")])
def test_at_most_twenty_values_are_listed(count, rest):
    values = list(range(100, 100 + count))
    shown = ", ".join(map(str, values[:20]))
    message = refusal(of(a={"enum": values}), {"a": 1})
    assert message == f"a: one of {shown}{rest} is expected, got 1"


def test_only_the_nearest_name_is_suggested():
    message = refusal(of(amount=NUMBER, amounts=NUMBER), {"amout": 5})
    assert message.startswith("amout: is not known (did you mean amount?); known")


@pytest.mark.parametrize("value", [2**53, -(2**53)])
def test_a_whole_number_that_javascript_rounds_is_refused(value):
    assert refusal(None, {"a": value}) == "a: a number below 2^53 is expected"
    rounded = value - 1 if value > 0 else value + 1
    assert accepted(None, {"a": rounded}) == {"a": rounded}


def test_the_remedy_lists_the_names_only_if_the_message_does_not():
    remedies = {}
    for name, value in {"a": 5, "b": "x"}.items():
        with pytest.raises(RefusedError) as caught:
            validate(make_portable(of(a=TEXT)), {name: value}, strict=True)
        remedies[name] = caught.value.remedy
    start = "Correct what is named and call the tool again"
    assert remedies["a"] == f"{start} (known are a). Nothing was done."
    assert remedies["b"] == f"{start}. Nothing was done."


def test_an_unknown_name_is_answered_with_the_advertised_names():
    assert refusal(of(**{"e.mail": TEXT}), {"x": 1}).endswith("known are e_mail")


@pytest.mark.parametrize("name", ["wait_for_previous", "confirm"])
def test_a_declared_name_that_a_rename_hides_is_the_actions(name):
    schema = of(**{name: {"type": "boolean"}, "e.mail": TEXT})
    given_now = {name: True, "e_mail": "x"}
    assert accepted(schema, given_now, extra=frozenset({"confirm"})) == {name: True, "e.mail": "x"}


@pytest.mark.parametrize(
    ("schema", "value", "words"),
    [
        ({"not": {"type": "null"}}, None, "this value, or combination, is not allowed"),
        (
            {"type": "array", "uniqueItems": True},
            [1, 1],
            "every entry may occur only once",
        ),
        ({"type": "array", "contains": WHOLE}, ["x"], "an expected entry is missing"),
        (
            {"type": "object", "propertyNames": {"maxLength": 1}},
            {"xx": 1},
            "at most 1 characters are expected",
        ),
        (
            {"type": "array", "contains": WHOLE, "maxContains": 1},
            [1, 2],
            "does not fit what is expected (maxContains)",
        ),
        ({"type": "array", "prefixItems": [WHOLE], "items": False}, [1, 2], "fewer entries"),
    ],
)
def test_a_rare_rule_is_explained_too(schema, value, words):
    assert refusal(of(a=schema), {"a": value}).startswith(f"a: {words}")


@pytest.mark.parametrize(
    ("value", "step", "fits"),
    [
        (6, 4, False),
        (8, 4, True),
        (0.5, 0.25, True),
        (0.75, 0.5, False),
        (7, 0.5, True),
        ("x", 2, True),
        (1.5, 1, False),
    ],
)
def test_a_multiple_is_checked_in_decimals(value, step, fits):
    schema = of(a={"multipleOf": step})
    if fits:
        assert accepted(schema, {"a": value}) == {"a": value}
    else:
        assert refusal(schema, {"a": value}).startswith(f"a: a multiple of {step} is expected")


def test_a_long_or_dirty_value_is_never_echoed_whole():
    message = refusal(of(a=WHOLE), {"a": "x\x1b[31m\n\u202e" + "y" * 500})
    assert "y" * 61 not in message
    assert message.isprintable()


def test_a_long_or_dirty_name_is_never_echoed_whole():
    message = refusal(of(a=WHOLE), {"x\x1b[31m\n" + "y" * 500: 1})
    assert "y" * 61 not in message
    assert message.isprintable()


def test_an_undeclared_name_is_refused_with_what_was_perhaps_meant():
    message = refusal(of(amount=NUMBER, transaction_id=TEXT), {"amout": 5})
    assert message.startswith("amout: is not known (did you mean amount?)")
    assert "amount, transaction_id" in message


@pytest.mark.parametrize("schema", [None, {}, {**of(a=TEXT), "additionalProperties": True}])
def test_undeclared_names_pass_where_the_schema_is_missing_or_open(schema):
    assert accepted(schema, {"b": 1}) == {"b": 1}


@pytest.mark.parametrize("schema", [None, {}, {**of(a=TEXT), "additionalProperties": True}])
def test_a_strict_tool_takes_no_undeclared_name_whatever_the_schema_says(schema):
    assert refusal(schema, {"b": 1}, strict=True).startswith("b: is not known")


def test_the_names_of_a_tool_are_listed_once_in_a_refusal():
    known = "known are city, email"
    for arguments in ({"street": "x", "notes": "x"}, {"email": 5, "street": "x"}, {"email": 5}):
        with pytest.raises(RefusedError) as caught:
            validate(make_portable(of(email=TEXT, city=TEXT)), arguments, strict=True)
        assert f"{caught.value.message} {caught.value.remedy}".count(known) == 1
        assert set(arguments) <= set(caught.value.message.replace(":", " ").split())


def test_a_nested_undeclared_name_is_refused_where_it_matters():
    schema = of(a=of(b=TEXT), c={"type": "object"}, d={**of(e=TEXT), "additionalProperties": True})
    assert accepted(schema, {"a": {"x": 1}}) == {"a": {"x": 1}}
    assert refusal(schema, {"a": {"x": 1}}, strict=True).startswith("a.x: is not known")
    free = {"c": {"x": 1}, "d": {"x": 1}}
    assert accepted(schema, free) == free
    assert accepted(schema, {"c": {"x": 1}}, strict=True) == {"c": {"x": 1}}
    assert refusal(schema, {"d": {"x": 1}}, strict=True).startswith("d.x: is not known")


def test_a_nested_undeclared_name_in_a_list_is_refused_when_strict():
    schema = of(a={"type": "array", "items": of(b=TEXT)})
    assert refusal(schema, {"a": [{}, {"x": 1}]}, strict=True).startswith("a[1].x: is not known")


def test_a_closed_nested_object_is_closed_for_everyone():
    schema = of(a={**of(b=TEXT), "additionalProperties": False})
    assert refusal(schema, {"a": {"bb": 1}}).startswith("a.bb: is not known (did you mean b?)")


def test_names_under_a_declared_pattern_are_known():
    schema = {**of(a=TEXT), "patternProperties": {"^x_": WHOLE}}
    assert accepted(schema, {"x_1": 1}) == {"x_1": 1}
    assert refusal(schema, {"x_1": "a"}) == 'x_1: a whole number is expected, got "a"'


@pytest.mark.parametrize("pattern", ["^refund", ".*"])
def test_a_pattern_declares_no_name_of_a_strict_tool_nested_ones_too(pattern):
    schema = {**of(refund_amount=NUMBER), "patternProperties": {pattern: {}}}
    assert refusal(schema, {"refund_amont": 5}, strict=True).startswith("refund_amont: is not")
    nested = of(refund=schema, free={"type": "object", "patternProperties": {pattern: {}}})
    for name in ("refund", "free"):
        message = refusal(nested, {name: {"refund_amont": 5}}, strict=True)
        assert message.startswith(f"{name}.refund_amont: is not known")


def test_what_a_client_adds_by_itself_is_stripped_unless_declared():
    assert accepted(of(a=TEXT), {"wait_for_previous": True}, strict=True) == {}
    declared = of(wait_for_previous={"type": "boolean"})
    assert accepted(declared, {"wait_for_previous": True}) == {"wait_for_previous": True}
    assert refusal(of(a=TEXT), {"wait_for_next": True}).startswith("wait_for_next: is not known")


def test_the_servers_own_names_are_accepted_and_left_out():
    given_now = {"a": "x", "confirm": True}
    assert accepted(of(a=TEXT), given_now, strict=True, extra=frozenset({"confirm"})) == {"a": "x"}


def test_a_name_the_action_declares_is_the_actions():
    schema = of(confirm={"type": "boolean"})
    assert accepted(schema, {"confirm": True}, extra=frozenset({"confirm"})) == {"confirm": True}


ODD = of(**{"e-mail": TEXT, "lead": {"type": "array", "items": of(**{"first-name": TEXT})}})


@pytest.mark.parametrize("email", ["e-mail", "e_mail"])
@pytest.mark.parametrize("first", ["first-name", "first_name"])
def test_a_shown_name_or_the_actions_own_may_be_used_at_any_depth(email, first):
    expected = {"e-mail": "a", "lead": [{"first-name": "b"}]}
    assert accepted(ODD, {email: "a", "lead": [{first: "b"}]}, strict=True) == expected


def test_both_names_at_once_must_agree():
    assert accepted(ODD, {"e-mail": "a", "e_mail": "a"}) == {"e-mail": "a"}
    assert "given twice" in refusal(ODD, {"e-mail": "a", "e_mail": "b"})
    assert "given twice" in refusal(ODD, {"e_mail": "b", "e-mail": "a"})


def test_a_key_of_a_free_map_is_never_renamed():
    schema = of(**{"e-mail": TEXT, "free": {"type": "object", "additionalProperties": TEXT}})
    assert accepted(schema, {"free": {"e_mail": "a"}}) == {"free": {"e_mail": "a"}}


def test_a_required_name_that_is_not_declared_can_be_given():
    schema = of("id", a=TEXT)
    assert refusal(schema, {}) == "id: is required"
    assert accepted(schema, {"id": 1}, strict=True) == {"id": 1}


def test_no_arguments_are_an_empty_object():
    assert accepted(of(a=TEXT), None) == {}


def nested(levels):
    value = {}
    for _ in range(levels):
        value = {"a": value}
    return value


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param(nested(5_000), "a.a.a: is nested deeper than 64 levels", id="deep"),
        ({"a": math.nan}, "a: a finite number is expected"),
        ({"a": [math.inf]}, "a[0]: a finite number is expected"),
        pytest.param({"a": 10**5000}, "a: a number below 2^53 is expected", id="huge"),
        ({"a": "\ud800"}, "a: text in whole characters is expected"),
        ({"a": {1, 2}}, "a: a JSON value is expected"),
        ({"a": {1: 2}}, "a: every name in an object must be text"),
        ([], "an object is expected"),
        ("text", "an object is expected"),
    ],
)
def test_what_is_not_plain_json_is_refused(arguments, message):
    assert refusal(None, arguments) == message


def test_sixty_four_levels_are_accepted():
    assert accepted(None, nested(64)) == nested(64)
    assert "deeper" in refusal(None, nested(65))


def test_cents_are_multiples_of_a_cent():
    schema = of(a={**NUMBER, "multipleOf": 0.01})
    assert accepted(schema, {"a": 19.99}) == {"a": 19.99}


SCALARS = {
    "string": st.text(st.characters(exclude_categories=["Cs"]), max_size=9),
    "integer": st.integers(-(2**53) + 1, 2**53 - 1),
    "number": st.floats(allow_nan=False, allow_infinity=False),
    "boolean": st.booleans(),
    "null": st.none(),
}
NAMES = st.from_regex(r"[A-Za-z][A-Za-z0-9_]{0,8}", fullmatch=True).filter(
    lambda name: name != "wait_for_previous"
)


@st.composite
def schema_and_value(draw, depth=2):
    kinds = [*SCALARS, "object", "array"] if depth else list(SCALARS)
    kind = draw(st.sampled_from(kinds))
    if kind == "array":
        schema, value = draw(schema_and_value(depth=depth - 1))
        return {"type": "array", "items": schema}, [value] * draw(st.integers(0, 2))
    if kind == "object":
        return draw(object_and_value(depth=depth - 1))
    return {"type": kind}, draw(SCALARS[kind])


@st.composite
def object_and_value(draw, depth=2):
    pairs = draw(st.dictionaries(NAMES, schema_and_value(depth=depth), max_size=4))
    required = draw(st.sets(st.sampled_from(sorted(pairs)))) if pairs else set()
    given_names = required | draw(st.sets(st.sampled_from(sorted(pairs)))) if pairs else set()
    schema = of(*sorted(required), **{name: pair[0] for name, pair in pairs.items()})
    return schema, {name: pairs[name][1] for name in given_names}


@settings(max_examples=examples(20), deadline=None)
@given(object_and_value(), st.booleans())
def test_what_is_valid_under_a_simple_schema_is_accepted_as_it_is(pair, strict):
    schema, value = pair
    assert accepted(schema, value, strict=strict) == value


@settings(max_examples=examples(25), deadline=None)
@given(
    st.dictionaries(
        st.text(st.characters(exclude_categories=["Cs"]), max_size=9),
        st.integers(-(2**53) + 1, 2**53 - 1),
        max_size=6,
    )
)
def test_shown_names_reach_the_action_under_its_own(values):
    values.pop("wait_for_previous", None)
    made = make_portable(of(**dict.fromkeys(values, WHOLE)))
    shown: dict[str, str] = {own: shown_as for shown_as, own in made.renames.items()}
    sent = {shown.get(str(name), str(name)): value for name, value in values.items()}
    assert validate(made, sent, strict=True) == values


MORE = dict.fromkeys(map(str, range(MAX_NAMES + 1)), 0)
TOO_MANY = {
    "flat": MORE,
    "in an object": {"a": MORE},
    "in a list": [MORE],
    "in two lists": [[MORE]],
}


@pytest.mark.parametrize("shape", TOO_MANY)
def test_more_names_than_a_call_can_use_are_refused(shape):
    with pytest.raises(RefusedError, match="more than 1,000 names") as caught:
        limit_names(TOO_MANY[shape])
    assert caught.value.code == "invalid_arguments"
    assert caught.value.remedy


def test_names_are_counted_to_the_last_one():
    limit_names([{"a": 0}, {"b": 0}], 2)
    with pytest.raises(RefusedError, match="more than 2 names"):
        limit_names([{"c": 0}, {"a": 0, "b": 0}], 2)
    with pytest.raises(RefusedError, match="more than 1 names"):
        limit_names([{"b": 0}, {"a": 0}], 1)


def test_as_many_names_as_a_call_can_use_pass_in_any_shape():
    half = dict.fromkeys(map(str, range(MAX_NAMES // 2)), 0)
    limit_names(dict.fromkeys(map(str, range(MAX_NAMES)), 0))
    limit_names([half, half])
    with pytest.raises(RefusedError):
        limit_names([half, half, {"more": 0}])


NUMBER_OR_OBJECT = {"anyOf": [NUMBER, of("a", a=TEXT)]}
BRANCHES = {
    "a whole number is a number": (
        {"anyOf": [{"type": "number", "maximum": 3}, TEXT]},
        5,
        "x: at most 3 is expected, got 5",
    ),
    "the only object": (NUMBER_OR_OBJECT, {"a": 5}, "x.a: a string is expected, got 5"),
    "an object without what the branch requires": (
        NUMBER_OR_OBJECT,
        {"b": 5},
        "x: must fit one of 2 possible forms, got an object",
    ),
    "neither": (NUMBER_OR_OBJECT, "t", 'x: a number or an object is expected, got "t"'),
    "two objects that are both meant": (
        {"anyOf": [of("a", a=TEXT), of("a", a={"type": "boolean"})]},
        {"a": 5},
        "x: one of: a is expected",
    ),
    "an empty branch": ({"anyOf": [{"not": {}}, NUMBER]}, "t", "x: a number is expected"),
    "a branch without a type": ({"oneOf": [True, TEXT]}, "t", "x: must fit exactly one of 2"),
}


@pytest.mark.parametrize("name", BRANCHES)
def test_of_several_forms_the_message_is_about_the_meant_one(name):
    schema, value, words = BRANCHES[name]
    assert refusal(of(x=schema), {"x": value}).startswith(words)

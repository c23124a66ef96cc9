"""Ids and amounts get their declared type, and nothing that is not clean is guessed at."""

import math

import pytest

from kartra_mcp.core.errors import RefusedError
from kartra_mcp.kartra.values import amount_error
from kartra_mcp.schemas.arguments import coerce_numbers, validate
from kartra_mcp.schemas.portable import make_portable

TEXT = {"type": "string"}
WHOLE = {"type": "integer"}
NUMBER = {"type": "number"}


def of(**properties):
    return {"type": "object", "properties": properties}


IDS = frozenset({"transaction_id", "id"})
AMOUNTS = frozenset({"amount"})


def one(schema, value, name="id"):
    return coerce_numbers(make_portable(of(**{name: schema})), {name: value}, IDS, AMOUNTS)[name]


@pytest.mark.parametrize(
    ("schema", "value", "expected"),
    [
        (WHOLE, "101", 101),
        (WHOLE, " 101 ", 101),
        (WHOLE, 101.0, 101),
        (NUMBER, "101", 101),
        (TEXT, 101, "101"),
        (TEXT, 101.0, "101"),
        (TEXT, 1e20, "100000000000000000000"),
        (TEXT, "abc", "abc"),
        ({"type": ["integer", "null"]}, "101", 101),
        ({"anyOf": [WHOLE, {"type": "null"}]}, "101", 101),
        ({"type": "array", "items": WHOLE}, ["1", 2.0], [1, 2]),
        ({"type": ["integer", "string"]}, "101", "101"),
        ({"type": ["integer", "string"]}, 101, 101),
        ({}, "101", "101"),
    ],
)
def test_an_id_gets_the_declared_type(schema, value, expected):
    found = one(schema, value)
    assert (found, type(found)) == (expected, type(expected))


@pytest.mark.parametrize(
    "value", ["101abc", "१०१", "1_0", "0x10", "+5", "", "-1 ", "1.5", True, None, "9" * 99]
)
def test_an_unclean_id_is_left_for_validation_to_refuse(value):
    assert one(WHOLE, value) is value
    with pytest.raises(RefusedError, match="whole number is expected"):
        validate(make_portable(of(id=WHOLE)), {"id": value}, strict=False)


@pytest.mark.parametrize("value", [True, 101.5, pytest.param(10**5000, id="huge")])
def test_a_value_that_cannot_be_an_id_never_becomes_text(value):
    assert one(TEXT, value) is value


@pytest.mark.parametrize(
    ("schema", "value", "expected"),
    [
        (NUMBER, "97", 97),
        (NUMBER, "97.00", 97),
        (NUMBER, " 97.5 ", 97.5),
        (NUMBER, "0.1", 0.1),
        (NUMBER, 97.5, 97.5),
        (WHOLE, "97.00", 97),
        (TEXT, 97, "97"),
        (TEXT, 97.5, "97.5"),
        (TEXT, " 97.50 ", "97.50"),
        (NUMBER, "1e2", "1e2"),
        (NUMBER, "97,00", "97,00"),
        (NUMBER, "$97", "$97"),
        (NUMBER, "-97", "-97"),
        (NUMBER, ".5", ".5"),
        (NUMBER, "0.1000000000000000000001", "0.1000000000000000000001"),
        (WHOLE, "97.5", "97.5"),
        (NUMBER, False, False),
    ],
)
def test_an_amount_gets_the_declared_type(schema, value, expected):
    found = one(schema, value, "amount")
    assert (found, type(found)) == (expected, type(expected))


def test_names_are_compared_without_case_and_dashes_at_any_depth():
    schema = of(
        **{"transactionId": WHOLE, "Transaction-ID": WHOLE, "lead": of(ID=TEXT), "note": TEXT}
    )
    sent = {"transactionId": "1", "Transaction_ID": "2", "lead": {"ID": 3}, "note": 4}
    expected = {"transactionId": 1, "Transaction_ID": 2, "lead": {"ID": "3"}, "note": 4}
    assert coerce_numbers(make_portable(schema), sent, IDS, AMOUNTS) == expected


def test_without_arguments_there_is_nothing_to_normalise():
    assert coerce_numbers(make_portable(None), None, IDS, AMOUNTS) == {}


@pytest.mark.parametrize(
    ("value", "word"),
    [
        (None, "null"),
        ("", "empty"),
        ("  ", "empty"),
        (0, "0"),
        (0.0, "0"),
        ("0.00", "0"),
        (-0.0, "0"),
        (-5, "negative"),
        ("-5.0", "negative"),
        (math.nan, "finite"),
        (math.inf, "finite"),
        (-math.inf, "finite"),
        (97.005, "cent"),
        ("0.001", "cent"),
        (1e-9, "cent"),
        (True, "true or false"),
        ("97,00", "not a number"),
        ("1e2", "not a number"),
        ("$97", "not a number"),
        ("१०१", "not a number"),
        ([], "not a number"),
        ({}, "not a number"),
    ],
)
def test_an_amount_that_cannot_be_used_is_refused_in_a_sentence(value, word):
    assert word in amount_error(value)


@pytest.mark.parametrize("value", [9, 97.5, 0.01, 19.99, "97", "97.00", " 97.5 ", "97.500", 10**30])
def test_a_good_amount_has_no_fault(value):
    assert amount_error(value) is None


def coerce(schema, arguments):
    return coerce_numbers(make_portable(schema), arguments, IDS, AMOUNTS)


AMOUNT_OBJECT = of(value=NUMBER, currency=TEXT)
NESTED = {
    "an amount's value": (of(amount=AMOUNT_OBJECT), {"amount": {"value": "5.5"}}, 5.5),
    "the value of what is no amount": (of(other=AMOUNT_OBJECT), {"other": {"value": "5"}}, "5"),
    "a value that an id contains": (of(id=of(value=WHOLE)), {"id": {"value": "7"}}, 7),
    "an id below an undeclared name": (of(), {"x": {"id": "7"}}, "7"),
    "any name that ends in id": (of(data=of(tag_id=WHOLE)), {"data": {"tag_id": "7"}}, 7),
    "any name that ends in ids": (of(data=of(tagIds=WHOLE)), {"data": {"tagIds": "7"}}, 7),
    "a name with hyphens": (of(**{"transaction-id": WHOLE}), {"transaction-id": "7"}, 7),
    "a name without separators": (of(transactionid=WHOLE), {"transactionid": "7"}, 7),
    "a name that only contains id": (of(idea=WHOLE), {"idea": "7"}, "7"),
    "an amount is not cut": (of(amount=TEXT), {"amount": 97.5}, "97.5"),
    "tens keep their zero": (of(amount=TEXT), {"amount": 100}, "100"),
    "a fraction of an amount": (of(amount=NUMBER), {"amount": "0.1"}, 0.1),
}


@pytest.mark.parametrize("name", NESTED)
def test_what_is_coerced_inside(name):
    schema, arguments, expected = NESTED[name]
    found = coerce(schema, arguments)
    while isinstance(found, dict):
        (found,) = found.values()
    assert (found, type(found)) == (expected, type(expected))


@pytest.mark.parametrize(
    ("value", "cents", "words"),
    [
        (1, True, None),
        (100, True, None),
        (0.5, True, "finer than a cent"),
        (0.01, False, None),
        (0.005, False, "finer than a cent"),
        (0, True, "is 0"),
        (0, False, "is 0"),
        (-1, True, "is negative"),
        (math.inf, True, "not finite"),
        ("7", True, None),
        ("1.5", True, "finer than a cent"),
    ],
)
def test_an_amount_of_cents_is_whole(value, cents, words):
    fault = amount_error(value, cents=cents)
    assert fault is None if words is None else words in (fault or "")

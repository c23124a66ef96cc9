"""One rule for two equal refunds: equal targets by `fold_id`, equal sums by `parse_amount`."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from kartra_mcp.core.models import Risk
from kartra_mcp.kartra.values import (
    amount,
    amount_error,
    fold_id,
    format_amount,
    id_error,
    is_typed,
    normalize_amount,
    normalize_id,
    parse_amount,
    parse_number,
    to_json_id,
)
from kartra_mcp.ledger.records import Intent, PriorIntent
from kartra_mcp.ledger.rules import AlreadyDoneError, duplicate_refusal, normalize_intent

NUMBERS = st.integers(0, 10**45)
IDS = st.one_of(
    NUMBERS,
    NUMBERS.map(lambda number: f" 00{number} "),
    st.integers(0, 10**6).map(float),
    st.integers(0, 10**6).map(lambda number: f"+{number}.00"),
    st.emails().map(str.upper),
    st.text(),
)
CENTS = st.integers(1, 10**12)


def folded_by_first_version(value: Any) -> str | None:
    """Return the spelling of a target in ledgers that version 0.1.0 wrote."""
    if value is None or isinstance(value, bool):
        return None
    text = " ".join(unicodedata.normalize("NFKC", str(value)).split()).casefold()
    number = re.fullmatch(r"\+?([0-9]+)(?:\.0+)?", text)
    return (number[1].lstrip("0") or "0") if number else text or None


@given(IDS)
def test_an_id_is_found_in_an_old_ledger(spelled):
    assert fold_id(spelled) == folded_by_first_version(spelled)


@given(IDS)
def test_folding_is_coarser_than_normalizing(spelled):
    """One consent and one duplicate cover the same values."""
    assert normalize_id(normalize_id(spelled)) == normalize_id(spelled)
    assert fold_id(normalize_id(spelled)) == fold_id(spelled)


@pytest.mark.parametrize(("one", "other"), [("A-1", "a-1"), ("１０１", "101"), ("a  b", "a b")])
def test_a_consent_does_not_cover_an_id_that_only_may_be_the_same(one, other):
    assert normalize_id(one) != normalize_id(other)
    assert fold_id(one) == fold_id(other)


@given(
    st.one_of(st.integers(), st.floats(), st.decimals(), st.text("0123456789.-+eE ", max_size=50))
)
def test_a_valid_amount_is_read_exactly(value):
    assume(amount_error(value) is None)
    exact = Decimal(repr(value) if isinstance(value, float) else str(value).strip())
    assert parse_amount(value) == normalize_amount(value) == exact


@pytest.mark.parametrize("value", [10**30 + 1, "1" + "0" * 39, 1e300])
def test_a_long_amount_is_not_taken_for_none(value):
    """Without an amount a refund pays everything back."""
    assert parse_amount(value) == Decimal(repr(value) if isinstance(value, float) else value)


@pytest.mark.parametrize("value", ["1E+9999", Decimal("1E+9999"), float("inf"), Decimal("NaN")])
def test_a_number_that_is_no_amount(value):
    assert parse_amount(value) is None
    assert normalize_amount(value) is None


@pytest.mark.parametrize(
    ("value", "read", "stored"),
    [("96.996", "97.00", "97"), ("0.30", "0.30", "0.3"), (Decimal("1E+2"), "100.00", "100")],
)
def test_an_amount_has_cents_and_the_ledger_no_trailing_zeros(value, read, stored):
    assert (str(parse_amount(value)), str(normalize_amount(value))) == (read, stored)


def spellings(cents: int) -> list[Any]:
    amount = Decimal(cents) / 100
    return [amount, f" {amount} ", f"{amount:.2f}0", f"{amount:E}", float(f"{cents / 100:.2f}")]


def refund(target: Any, amount: Any) -> Intent:
    return Intent(
        id="int_new",
        tool="kartra_refund_transaction",
        operation="refund_transaction",
        risk=Risk.IRREVERSIBLE,
        connection="c",
        target_kind="transaction",
        target=target,
        amount=amount,
        remainder=Decimal(10**12),
    )


@given(st.data(), st.integers(1, 10**9), CENTS, CENTS)
def test_two_refunds_are_equal_in_any_spelling(data, number, cents, other):
    """The stored amount is that of version 0.1.0, which did not round; no call was finer."""
    assume(other != cents)
    target = data.draw(st.sampled_from([number, f"0{number}", f"{number}.0", f" +{number}"]))
    stored = Decimal(format((Decimal(cents) / 100).normalize(), "f"))
    done = PriorIntent(
        id="int_old",
        at=0.0,
        operation="refund_transaction",
        state="succeeded",
        amount=stored,
        remainder=Decimal(10**12),
    )
    wanted = normalize_intent(refund(target, data.draw(st.sampled_from(spellings(cents)))))
    assert wanted.target == folded_by_first_version(str(number))
    assert isinstance(duplicate_refusal(wanted, [done], 1.0, 30), AlreadyDoneError)
    differs = replace(wanted, amount=normalize_amount(Decimal(other) / 100))
    assert duplicate_refusal(differs, [done], 1.0, 30) is None


@pytest.mark.parametrize("value", ["101abc", "101 abc", "101;", "101-1", " 101x", "+101e2", "-5"])
def test_a_text_that_php_reads_as_another_id_is_not_one(value):
    assert id_error(value)


@pytest.mark.parametrize("value", [7, "101", " 0101 ", "101.0", "+101", "I-5001SANDBOX", "abc"])
def test_an_id_in_any_spelling(value):
    assert id_error(value) is None


# what the user typed, what was shown, whether they agree
TYPED = [
    ("", "", True),
    (None, "", True),
    ("anything", "", True),
    ("", "97.00", False),
    (None, "101", False),
    ("97", "97.00", True),
    (" 97.00 ", "97.00", True),
    ("97.01", "97.00", False),
    ("97.004", "97.00", False),
    (" 0101 ", "101", True),
    (101, "101", True),
    ("102", "101", False),
    ("I-5001SANDBOX", "I-5001SANDBOX", True),
    ("I-5002SANDBOX", "I-5001SANDBOX", False),
    ("none", "None", False),
    ("abc", "xyz", False),
]


@pytest.mark.parametrize(("said", "wanted", "agrees"), TYPED)
def test_a_typed_sum_or_id_agrees_only_with_the_one_shown(said: Any, wanted: str, *, agrees: bool):
    assert is_typed(said, wanted) is agrees


NUMBERS_READ: list[tuple[Any, str | None]] = [
    (7, "7"),
    (-7, "-7"),
    (0, "0"),
    (0.1, "0.1"),
    (Decimal("1.250"), "1.250"),
    ("7", "7"),
    (" -7.50 ", "-7.50"),
    ("1" * 40 + "." + "1" * 40, "1" * 40 + "." + "1" * 40),
    ("1" * 41, None),
    ("1." + "1" * 41, None),
    ("+7", None),
    ("7.", None),
    (".5", None),
    ("7e2", None),
    ("7x", None),
    ("", None),
    ("inf", None),
    (float("inf"), None),
    (float("nan"), None),
    (Decimal("-Infinity"), None),
    (True, None),
    (False, None),
    (None, None),
    ([7], None),
]


@pytest.mark.parametrize(("value", "read"), NUMBERS_READ, ids=repr)
def test_a_number_is_read_exactly_and_anything_else_is_none(value: Any, read: str | None):
    found = parse_number(value)
    assert (None if found is None else str(found)) == read


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("250", "250"),
        ("250.5", "250.5"),
        ("250.00", "250.00"),
        ("0", "0"),
        ("9" * 12 + ".99", "9" * 12 + ".99"),
        ("9" * 13, None),
        ("250.001", None),
        ("250.", None),
        (".50", None),
        ("-1", None),
        ("1e3", None),
        (" 250", None),
        ("250 EUR", None),
        ("", None),
    ],
)
def test_a_sum_in_a_setting_has_two_decimals_at_most(text: str, read: str | None):
    found = amount(text)
    assert (None if found is None else str(found)) == read


@pytest.mark.parametrize(
    ("identity", "sent"),
    [("101", 101), ("0101", 101), ("A-1", "A-1"), ("1.0", "1.0"), ("-1", "-1"), ("", "")],
)
def test_a_whole_id_is_sent_as_a_number(identity: str, sent: int | str):
    found = to_json_id(identity)
    assert (found, type(found)) == (sent, type(sent))


@pytest.mark.parametrize(
    ("number", "shown"), [(None, None), ("97", "97.00"), ("0.5", "0.50"), ("1E+2", "100.00")]
)
def test_a_human_reads_a_sum_with_two_decimals(number: str | None, shown: str | None):
    assert format_amount(None if number is None else Decimal(number)) == shown


@pytest.mark.parametrize(
    ("value", "folded"),
    [
        (None, None),
        (True, None),
        (False, None),
        ("", None),
        ("  ", None),
        (0, "0"),
        ("000", "0"),
        ("+0.0", "0"),
        ("+0101.00", "101"),
        ("101.10", "101.10"),
        ("I-5001 SANDBOX", "i-5001 sandbox"),
    ],
    ids=repr,
)
def test_an_id_is_folded_to_one_spelling(value: Any, folded: str | None):
    assert fold_id(value) == folded


# value, whether it is in cents, whether it is valid
VALID: list[tuple[Any, bool, bool]] = [
    (0.01, False, True),
    (0.001, False, False),
    ("97.50", False, True),
    (" 97.5 ", False, True),
    ("97.505", False, False),
    ("97.500", False, True),
    (1, True, True),
    ("1", True, True),
    (0.5, True, False),
    (0, False, False),
    (0, True, False),
    (-0.01, False, False),
    (-1, True, False),
    (None, False, False),
    (True, False, False),
    (False, False, False),
    ("", False, False),
    (" ", False, False),
    ("all", False, False),
    ("1e3", False, False),
    ("NaN", False, False),
    (float("nan"), False, False),
    (float("inf"), False, False),
    (float("inf"), True, False),
    (Decimal("NaN"), True, False),
    ([97], False, False),
    ({}, True, False),
]


@pytest.mark.parametrize(("value", "cents", "valid"), VALID, ids=repr)
def test_an_amount_is_a_positive_number_of_cents(value: Any, *, cents: bool, valid: bool):
    assert (amount_error(value, cents=cents) is None) is valid


def test_each_reason_against_an_amount_is_told_apart():
    wrong = [None, True, "", "all", float("inf"), 0, -1, 0.001]
    told = [amount_error(value) for value in wrong]
    assert None not in told
    assert len(set(told)) == len(wrong)

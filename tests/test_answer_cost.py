"""Cost of an answer: empty fields are listed once by name, and no value is lost."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from harness import Sandbox, call, connect
from hypothesis import given
from hypothesis import strategies as st
from mcp_types import Implementation

from kartra_mcp.calls.empty_fields import MIN_FIELDS, extract_empty_fields, is_empty

EMPTY_VALUES = [None, "", [], {}, "0000-00-00", "0000-00-00 00:00:00"]
FULL_VALUES = [0, False, 0.0, " ", "0", [None], {"a": None}, "2026-11-29"]

CASES: Mapping[str, tuple[Any, Any, dict[str, list[str]]]] = {
    "a lead": (
        {"lead": {"id": 1, "phone": "", "zip": None, "tags": []}},
        {"lead": {"id": 1}},
        {"/lead": ["phone", "zip", "tags"]},
    ),
    "two empty fields stay": ({"a": "", "b": "", "c": 1}, {"a": "", "b": "", "c": 1}, {}),
    "rows that are empty alike": (
        [{"id": 1, "a": "", "b": "", "c": ""}, {"id": 2, "a": "", "b": None, "c": []}],
        [{"id": 1}, {"id": 2}],
        {"/*": ["a", "b", "c"]},
    ),
    "a field that one row fills": (
        [{"a": "", "b": "", "c": "", "d": ""}, {"a": "", "b": "", "c": "", "d": "x"}],
        [{"d": ""}, {"d": "x"}],
        {"/*": ["a", "b", "c"]},
    ),
    "a field that one row lacks": (
        [{"a": "", "b": "", "c": ""}, {"a": "", "b": ""}],
        [{"a": "", "b": "", "c": ""}, {"a": "", "b": ""}],
        {},
    ),
    "a name with a slash": (
        {"a/b": {"x": "", "y": "", "z": ""}},
        {"a/b": {}},
        {"/a~1b": ["x", "y", "z"]},
    ),
    "a text": ("", "", {}),
}


@pytest.mark.parametrize("case", CASES)
def test_empty_fields_are_listed_once_by_name(case: str):
    result, shown, listed = CASES[case]
    assert extract_empty_fields(result) == (shown, listed)


@pytest.mark.parametrize("value", EMPTY_VALUES, ids=repr)
def test_a_value_that_carries_nothing_is_empty(value: Any):
    assert is_empty(value)


@pytest.mark.parametrize("value", FULL_VALUES, ids=repr)
def test_zero_and_false_are_not_empty(value: Any):
    assert not is_empty(value)


JSON = st.recursive(
    st.sampled_from([*EMPTY_VALUES[:2], 0, "x", False]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["a", "b", "c", "d", "*", "e/f", "~"]), inner)
    ),
    max_leaves=30,
)


def restore(value: Any, listed: Mapping[str, list[str]], location: str = "") -> Any:
    if isinstance(value, dict):
        found = {
            name: restore(inner, listed, f"{location}/{name.replace('~', '~0').replace('/', '~1')}")
            for name, inner in value.items()
        }
        return found | dict.fromkeys(listed.get(location, ()))
    if isinstance(value, list):
        return [restore(inner, listed, f"{location}/*") for inner in value]
    return value


def blank(value: Any) -> Any:
    """Return the value with one kind of emptiness."""
    if is_empty(value):
        return None
    if isinstance(value, dict):
        return {name: blank(inner) for name, inner in value.items()}
    return [blank(inner) for inner in value] if isinstance(value, list) else value


@given(JSON)
def test_the_list_and_the_rest_are_the_whole_result(result: Any):
    shown, listed = extract_empty_fields(result)
    assert all(len(names) >= MIN_FIELDS for names in listed.values())
    if not has_star(result):
        assert blank(restore(shown, listed)) == blank(result)


def has_star(value: Any) -> bool:
    if isinstance(value, dict):
        return "*" in value or any(map(has_star, value.values()))
    return isinstance(value, list) and any(map(has_star, value))


@pytest.mark.anyio
async def test_a_lead_is_shown_without_its_empty_fields(sandbox: Sandbox):
    async with connect(sandbox, "2026-07-28") as client:
        answer = await call(client, "kartra_get_lead", email="bela@example.com")
        status = await call(client, "kartra_status")
    assert answer.structured is not None
    assert status.structured is not None
    (names,) = [n for at, n in answer.structured["empty"].items() if "lead" in at]
    assert len(names) >= MIN_FIELDS
    assert not set(names) & set(answer.result["lead_details"])
    assert "empty" not in status.structured
    assert "data from the account" not in status.structured["notice"]


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("name", "both"),
    [("codex-mcp-client", False), ("copilot-cli", False), ("codex", True), ("claude-ai", True)],
)
async def test_a_client_that_shows_both_forms_gets_the_text_alone(
    tmp_path: Any, protocol_version: str, name: str, *, both: bool
):
    place = Sandbox(tmp_path).arrange("reset")
    who = Implementation(name=name, version="1.0")
    async with connect(place, protocol_version, client_info=who) as client:
        answer = await call(client, "kartra_get_lead", email="ada@example.com")
    assert "ada@example.com" in answer.text
    assert (answer.structured is not None) is both


OWN_ANSWERS: dict[str, dict[str, str]] = {
    "kartra_status": {},
    "kartra_connect": {},
    "kartra_ledger": {},
    "kartra_bulk_status": {},
    "kartra_search_actions": {"intent": "refund"},
    "kartra_describe_action": {"action": "kartra_get_lead"},
}


@pytest.mark.anyio
@pytest.mark.parametrize("tool", OWN_ANSWERS)
async def test_the_servers_own_answers_have_no_notice_about_data(tmp_path: Path, tool: str):
    """Bug: `typed by strangers` was in answers of which the server wrote every word."""
    place = Sandbox(tmp_path, {"EXPOSE": "search"}).arrange("reset")
    async with connect(place, "2026-07-28") as client:
        answer = await call(client, tool, **OWN_ANSWERS[tool])
    assert not answer.failed, answer.text
    assert answer.structured is not None
    assert "instruction" not in answer.structured.get("notice", "")

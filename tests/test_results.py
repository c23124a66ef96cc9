"""Large results: whole items, a total, and a way on to the end."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kartra_mcp.errors import Refused
from kartra_mcp.results import at, first_page, read_on
from kartra_mcp.text import as_json


def rows(number: int) -> list[dict[str, object]]:
    return [{"n": n, "name": f"lead {n}"} for n in range(number)]


def test_a_small_result_is_shown_whole():
    page = first_page({"a": [1, 2]}, 100)
    assert (page.shown, page.next_offset) == ({"a": [1, 2]}, None)


def test_a_large_list_is_cut_at_whole_items_and_the_rest_of_the_result_stays():
    result = {"status": "Success", "lead_details": {"id": "1", "tags": rows(500)}}
    page = first_page(result, 2_000)
    assert page.shown["status"] == "Success"
    tags = page.shown["lead_details"]["tags"]
    assert tags == rows(500)[: len(tags)]
    assert (page.path, page.total, page.next_offset) == ("/lead_details/tags", 500, len(tags))
    assert len(as_json(page.shown)) <= 2_000


def test_reading_on_reaches_the_end_and_loses_nothing():
    whole, seen, offset = rows(400), [], 0
    while offset is not None:
        page = read_on(whole, 1_000, path="", offset=offset)
        seen += page.shown
        offset = page.next_offset
    assert seen == whole


def test_only_the_fields_that_were_asked_for_are_read():
    page = read_on(rows(3), 1_000, path="", offset=0, fields=("n",))
    assert page.shown == [{"n": 0}, {"n": 1}, {"n": 2}]


def test_an_item_too_large_to_show_is_marked_with_its_place():
    result = [{"a": 1}, {"text": "x" * 5_000}, {"a": 2}]
    page = read_on(result, 1_000, path="", offset=0)
    assert page.shown[0] == {"a": 1}
    assert page.shown[1]["path"] == "/1"
    assert page.shown[2] == {"a": 2}
    inner = read_on(result, 1_000, path="/1/text", offset=4_900)
    assert (inner.shown, inner.next_offset) == ("x" * 100, None)


def test_a_long_text_is_read_in_parts():
    page = first_page("y" * 9_000, 1_000)
    assert page.total == 9_000
    assert page.next_offset == len(page.shown)


@pytest.mark.parametrize("path", ["/nothing", "/lead/9", "/lead/-1", "/lead/x", "/lead/0/a"])
def test_a_path_to_nothing_is_refused(path):
    with pytest.raises(Refused) as refused:
        at({"lead": [1]}, path)
    assert refused.value.code == "invalid_arguments"


def test_names_with_slashes_and_tildes_are_reached():
    assert at({"a/b": {"c~d": 5}}, "/a~1b/c~0d") == 5


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=40),
    lambda inner: (
        st.lists(inner, max_size=8) | st.dictionaries(st.text(max_size=8), inner, max_size=6)
    ),
    max_leaves=60,
)


@given(json_values, st.integers(300, 900))
@settings(max_examples=200, deadline=None)
def test_every_result_has_a_first_page_and_an_end(result, room):
    page = first_page(result, room)
    json.dumps(page.shown)
    pages = 0
    while page.next_offset is not None:
        following = read_on(result, room, path=page.path, offset=page.next_offset)
        assert following.next_offset is None or following.next_offset > page.next_offset
        page, pages = following, pages + 1
        assert pages < 2_000

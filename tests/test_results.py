"""Large results: whole items, a total, and a way on to the end."""

from __future__ import annotations

import json
from typing import Any

import pytest
from examples import examples
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kartra_mcp.calls.pagination import ResultPage, make_first_page, read_page, resolve_pointer
from kartra_mcp.core.errors import RefusedError
from kartra_mcp.core.sanitize import dump_json


def rows(number: int) -> list[dict[str, object]]:
    return [{"n": n, "name": f"lead {n}"} for n in range(number)]


def test_a_small_result_is_shown_whole():
    page = make_first_page({"a": [1, 2]}, 100)
    assert (page.shown, page.next_offset) == ({"a": [1, 2]}, None)


def test_a_large_list_is_cut_at_whole_items_and_the_rest_of_the_result_stays():
    result = {"status": "Success", "lead_details": {"id": "1", "tags": rows(500)}}
    page = make_first_page(result, 2_000)
    assert page.shown["status"] == "Success"
    tags = page.shown["lead_details"]["tags"]
    assert tags == rows(500)[: len(tags)]
    assert (page.path, page.total, page.next_offset) == ("/lead_details/tags", 500, len(tags))
    assert len(dump_json(page.shown)) <= 2_000


def test_reading_on_reaches_the_end_and_loses_nothing():
    whole, seen, offset = rows(400), [], 0
    while offset is not None:
        page = read_page(whole, 1_000, path="", offset=offset)
        seen += page.shown
        offset = page.next_offset
    assert seen == whole


def test_only_the_fields_that_were_asked_for_are_read():
    page = read_page(rows(3), 1_000, path="", offset=0, fields=("n",))
    assert page.shown == [{"n": 0}, {"n": 1}, {"n": 2}]


def test_an_item_too_large_to_show_is_marked_with_its_place():
    result = [{"a": 1}, {"text": "x" * 5_000}, {"a": 2}]
    page = read_page(result, 1_000, path="", offset=0)
    assert page.shown[0] == {"a": 1}
    assert page.shown[1]["path"] == "/1"
    assert page.shown[2] == {"a": 2}
    inner = read_page(result, 1_000, path="/1/text", offset=4_900)
    assert (inner.shown, inner.next_offset) == ("x" * 100, None)


def test_a_long_text_is_read_in_parts():
    page = make_first_page("y" * 9_000, 1_000)
    assert page.total == 9_000
    assert page.next_offset == len(page.shown)


@pytest.mark.parametrize("path", ["/nothing", "/lead/9", "/lead/-1", "/lead/x", "/lead/0/a"])
def test_a_path_to_nothing_is_refused(path):
    with pytest.raises(RefusedError) as refused:
        resolve_pointer({"lead": [1]}, path)
    assert refused.value.code == "invalid_arguments"


def test_names_with_slashes_and_tildes_are_reached():
    assert resolve_pointer({"a/b": {"c~d": 5}}, "/a~1b/c~0d") == 5


def test_an_empty_name_is_reached_and_else_a_lone_slash_is_the_whole():
    assert resolve_pointer({"": {"": 5}}, "/") == {"": 5}
    assert resolve_pointer({"": {"": 5}}, "//") == 5
    assert resolve_pointer({"a": 1}, "/") == {"a": 1}


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=40),
    lambda inner: (
        st.lists(inner, max_size=8) | st.dictionaries(st.text(max_size=8), inner, max_size=6)
    ),
    max_leaves=60,
)


@given(json_values, st.integers(300, 900))
@settings(max_examples=examples(40), deadline=None)
def test_every_result_has_a_first_page_and_an_end(result, room):
    page = make_first_page(result, room)
    json.dumps(page.shown)
    pages = 0
    while page.next_offset is not None:
        following = read_page(result, room, path=page.path, offset=page.next_offset)
        assert following.next_offset is None or following.next_offset > page.next_offset
        page, pages = following, pages + 1
        assert pages < 2_000


class Reader:
    """Reads as a client does: pages to their end, and every mark at the path it names."""

    def __init__(self, result: object, room: int) -> None:
        self.result, self.room, self.pages = result, room, 0

    def whole(self) -> object:
        page = make_first_page(self.result, self.room)
        if not page.has_more:
            return page.shown
        cut = self.rest(page, resolve_pointer(page.shown, page.path))
        return self.put(page.shown, page.path, cut)

    def place(self, path: str) -> object:
        page = read_page(self.result, self.room, path=path, offset=0)
        return self.rest(page, page.shown)

    def rest(self, page: ResultPage, shown: Any) -> object:
        seen = self.unmarked(shown, marked=page.has_placeholder)
        while page.next_offset is not None:
            self.pages += 1
            assert self.pages < 5_000
            page = read_page(self.result, self.room, path=page.path, offset=page.next_offset)
            more = self.unmarked(page.shown, marked=page.has_placeholder)
            seen = {**seen, **more} if isinstance(seen, dict) else seen + more
        return seen

    def unmarked(self, shown: Any, *, marked: bool) -> Any:
        if isinstance(shown, list):
            return [self.item(item) for item in shown] if marked else shown
        if isinstance(shown, dict):
            return {name: self.item(item) for name, item in shown.items()} if marked else shown
        return shown

    def item(self, item: Any) -> object:
        is_mark = isinstance(item, dict) and item.get("too_large_to_show") is True
        return self.place(item["path"]) if is_mark else item

    def put(self, whole: Any, path: str, part: object) -> object:
        if not path:
            return part
        first, *rest = path[1:].split("/")
        name = first.replace("~1", "/").replace("~0", "~")
        return {**whole, name: self.put(whole[name], "".join(f"/{r}" for r in rest), part)}


large_values = st.recursive(
    st.none() | st.integers() | st.text(max_size=40) | st.text(min_size=700, max_size=2_500),
    lambda inner: (
        st.lists(inner, max_size=8) | st.dictionaries(st.text(max_size=8), inner, max_size=6)
    ),
    max_leaves=40,
)


@given(large_values, st.integers(300, 900))
@settings(
    max_examples=examples(15), deadline=None, suppress_health_check=[HealthCheck.data_too_large]
)
def test_following_pages_and_marks_loses_nothing_and_ends(result, room):
    assert Reader(result, room).whole() == result


@pytest.mark.parametrize(
    "result",
    [
        {"lead_details": {"notes": "n" * 5_000, "tags": [{"tag_name": "t"}]}},
        [{"email": f"{i}@b.c", "notes": "n" * 5_000} for i in range(3)],
        [{"a": 1}, {"b": "n" * 5_000}],
    ],
    ids=["long notes beside a list", "every item", "the last item"],
)
def test_a_page_that_ends_with_a_mark_goes_on(result):
    page = make_first_page(result, 1_000)
    assert (page.next_offset, page.has_placeholder, page.has_more) == (None, True, True)
    assert Reader(result, 1_000).whole() == result


def test_an_item_of_the_account_that_looks_like_a_mark_is_none():
    assert not make_first_page([{"too_large_to_show": True}], 1_000).has_more


@pytest.mark.parametrize("step", ["9" * 5_000, "00", "²", "٣", "-0", "1.0"])
def test_an_index_that_is_no_plain_number_is_a_path_to_nothing(step):
    with pytest.raises(RefusedError, match="no value at this path"):
        resolve_pointer({"lead": [1, 2, 3, 4]}, f"/lead/{step}")

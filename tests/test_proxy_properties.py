"""Whatever a parser on the way could read as a command that does not read never passes as a read.

The oracle is tests/loose_readers.py.
"""

from __future__ import annotations

import html
import json
from collections.abc import Callable
from urllib.parse import quote

from examples import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from loose_readers import READS, WORDS, dangers, passes, sent, texts
from random_values import ANY_JSON, ANY_TEXT

from kartra_mcp.kartra.commands import COMMANDS
from kartra_mcp.kartra.request_guard import reject_dedicated_commands

OTHERS = (*sorted(set(COMMANDS) - READS), "delete_lead", "frobnicate")
OWN = ("refund_transaction", "cancel_transaction")


# ── Requests that hold a command that does not read, in every dress ──

reads = st.sampled_from(sorted(READS - {"get_lead"}))
others = st.sampled_from(OTHERS)


DRESSES: tuple[Callable[[str], str], ...] = (
    lambda w: w,
    str.upper,
    str.title,
    lambda w: f" {w}",
    lambda w: f"{w}\t",
    lambda w: "".join(chr(ord(c) + 0xFEE0) if c.isalnum() else c for c in w),
    lambda w: w[0] + "\u200b" + w[1:],
    lambda w: w[:1] + "\u2060\ufe0f" + w[1:],
    lambda w: f"{w}\0",
)
SPELLINGS: tuple[Callable[[str], str], ...] = (
    str,
    quote,
    lambda t: quote(t, safe=""),
    lambda t: quote(quote(t, safe=""), safe=""),
    lambda t: "".join(f"%{byte:02x}" for byte in t.encode()),
    lambda t: t.replace(".", "_").replace("[0]", "[]"),
)


@st.composite
def dressed(draw, word):
    """A word as a careless reader still understands it."""
    dress = draw(st.sampled_from(DRESSES))
    return dress(word)


@st.composite
def entry(draw, names, *, plain=False):
    name = draw(names)
    if plain:
        return {"cmd": name}
    return {draw(dressed("cmd")): draw(dressed(name)), "transaction_id": 101}


def as_form(value, name=""):
    if isinstance(value, dict | list):
        pairs = value.items() if isinstance(value, dict) else enumerate(value)
        return [
            pair
            for key, one in pairs
            for pair in as_form(one, f"{name}[{key}]" if name else str(key))
        ]
    return [(name, str(value))]


@st.composite
def form_text(draw, fields):
    """A form with every name and value spelt in one of many ways."""
    spell = st.sampled_from(SPELLINGS)
    pieces = [f"{draw(spell)(name)}={draw(spell)(value)}" for name, value in as_form(fields)]
    return draw(st.sampled_from(["&", "&", ";", "&amp;", "&&"])).join(draw(st.permutations(pieces)))


@st.composite
def json_text(draw, value):
    """JSON with escapes, or with every key twice."""
    text = json.dumps(value, ensure_ascii=draw(st.booleans()))
    return draw(
        st.sampled_from(
            [
                text,
                text.replace('"cmd"', '"\\u0063md"'),
                text.replace('"cmd"', '"cmd":"search_lead","cmd"'),
                text.replace('"actions"', '"actions":[],"actions"'),
                f"\ufeff{text}",
                f"{text} ",
                f"x={text}",
            ]
        )
    )


@st.composite
def planted(draw, names=others):
    """Fields that hold one bad entry somewhere among good ones."""
    bad = draw(entry(names, plain=draw(st.booleans())))
    good = [{"cmd": draw(reads)} for _ in range(draw(st.integers(0, 3)))]
    at = draw(st.integers(0, len(good)))
    actions = [*good[:at], bad, *good[at:]]
    gaps = {str(i * draw(st.integers(1, 3))): one for i, one in enumerate(actions)}
    if len(gaps) < len(actions):
        gaps = dict(enumerate(actions))
    alone = {"actions": good} if good else {}
    return draw(
        st.sampled_from(
            [
                {"actions": actions},
                {"actions": {str(k): v for k, v in gaps.items()}},
                {**alone, draw(dressed("actions")): [bad]},
                {**alone, **bad},
                {**alone, "lead": bad},
                {**alone, "lead": {"more": [bad]}},
                {**alone, "get_lead": bad},
                [{"actions": actions}],
                {**alone, "lead": {"n": json.dumps({"actions": [bad]})}},
                {**alone, "lead": {"n": json.dumps(json.dumps(bad))}},
                {**alone, "lead": {"n": "x&" + draw(form_text({"actions": [bad]}))}},
                {**alone, "lead": {"n": html.escape(json.dumps(bad))}},
            ]
        )
    )


@st.composite
def requests(draw, names=others):
    """A request with the bad fields in one of its bodies, or in its query."""
    fields = draw(planted(names))
    is_object = isinstance(fields, dict)
    kind = draw(st.sampled_from(["json", "form", "json text", "form text", "query"]))
    asked = {"method": draw(st.sampled_from(["GET", "POST"])), "path": "/api"}
    if kind == "json" or (kind == "form" and not is_object):
        return {**asked, "json": fields}
    if kind == "form":
        return {**asked, "form": fields}
    if kind == "json text":
        return {**asked, "raw": draw(json_text(fields))}
    if kind == "form text":
        return {**asked, "raw": draw(form_text(fields))}
    return {**asked, "query": dict(as_form(fields))}


@given(requests())
@settings(max_examples=examples(150), deadline=None)
def test_no_request_that_holds_another_command_passes_as_a_read(arguments):
    assert passes(arguments) is None


@given(requests(st.sampled_from(OWN)))
@settings(max_examples=examples(75), deadline=None)
def test_no_dress_brings_a_refund_past_the_write_tool(arguments):
    request = passes(arguments, reject_dedicated_commands)
    assert request is None or not dangers(sent(request))


FRAGMENTS = st.lists(st.sampled_from([*WORDS, " ", "\u200b"]), max_size=14).map("".join)


@given(FRAGMENTS, st.sampled_from(["raw", "query value", "query name", "text", "form text"]))
@settings(max_examples=examples(200), deadline=None)
def test_what_passes_as_a_read_holds_only_reads_for_every_reader(text, place):
    wanted = {"actions": [{"cmd": "search_lead"}], "lead": {"n": text}}
    arguments = {
        "raw": {"raw": text},
        "query value": {"query": {"x": text}},
        "query name": {"query": {text: "search_lead"}},
        "text": {"json": wanted},
        "form text": {"form": wanted},
    }[place]
    request = passes({"method": "POST", "path": "/api", **arguments})
    if request is not None:
        assert not dangers(*sent(request), *texts(list(arguments.values())))


@given(
    st.lists(reads, min_size=1, max_size=4),
    st.dictionaries(
        st.sampled_from(["id", "email"]), st.from_regex(r"[a-z0-9@.]*", fullmatch=True)
    ),
    st.sampled_from(["json", "form", "raw JSON", "raw form"]),
)
@settings(max_examples=examples(40), deadline=None)
def test_plain_reads_pass_in_every_encoding(names, lead, kind):
    fields = {"actions": [{"cmd": name} for name in names], "lead": {"id": "1", **lead}}
    body = {
        "json": {"json": fields},
        "form": {"form": fields},
        "raw JSON": {"raw": json.dumps(fields)},
        "raw form": {"raw": "&".join(f"{name}={value}" for name, value in as_form(fields))},
    }[kind]
    request = passes({"method": "POST", "path": "/api", **body})
    assert request is not None
    assert [command.name for command in request.commands] == names


NAMES = ("method", "path", "path_params", "query", "headers", "json", "form", "raw")
ANY_ARGUMENTS = st.dictionaries(st.sampled_from(NAMES) | ANY_TEXT, ANY_JSON, max_size=6)
SHAPED = st.fixed_dictionaries(
    {"path": st.just("/api") | ANY_TEXT | ANY_TEXT.map("/{a}".__add__)},
    optional={
        "method": st.sampled_from(["GET", "POST", "DELETE"]),
        "path_params": st.dictionaries(st.just("a") | ANY_TEXT, ANY_TEXT, max_size=2),
        "query": st.dictionaries(ANY_TEXT, ANY_TEXT | st.lists(ANY_TEXT, max_size=3), max_size=3),
        "headers": st.dictionaries(st.just("Accept") | ANY_TEXT, ANY_TEXT, max_size=2),
    },
)
BODY = st.one_of(
    st.just({}),
    st.fixed_dictionaries({"json": ANY_JSON}),
    st.fixed_dictionaries({"form": st.dictionaries(ANY_TEXT, ANY_JSON, max_size=4)}),
    st.fixed_dictionaries({"raw": ANY_TEXT | ANY_JSON.map(json.dumps)}),
)


@given(ANY_ARGUMENTS)
@settings(max_examples=examples(50), deadline=None)
def test_arbitrary_arguments_are_read_or_refused(arguments):
    passes(arguments)


@given(SHAPED, BODY)
@settings(max_examples=examples(75), deadline=None)
def test_arguments_of_the_right_shapes_are_read_or_refused(shaped, body):
    passes({**shaped, **body})
    passes({"method": "POST", "path": "/api", **body}, reject_dedicated_commands)

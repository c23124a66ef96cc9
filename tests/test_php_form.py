"""The form dialect: what is written is what PHP reads, and names are read as PHP reads them."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from examples import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from random_values import FORM_FIELDS

from kartra_mcp.kartra.form_encoding import (
    FormError,
    contains_command,
    encode_form,
    is_method_override,
    normalize_text,
    parse_form,
    parses_to_command,
    php_name,
    php_value,
    read_name,
    split_name,
)


@given(FORM_FIELDS)
@settings(max_examples=examples(30), deadline=None)
def test_php_reads_back_what_was_written(fields):
    assert parse_form(encode_form(fields)) == php_value(fields)


@given(FORM_FIELDS)
@settings(max_examples=examples(30), deadline=None)
def test_a_form_is_ascii_without_anything_two_decoders_see_differently(fields):
    text = encode_form(fields)
    assert text.isascii()
    assert not set(text) & set("+; []\"'<>\\")


@given(st.text(max_size=40) | st.text("ab[].%0;&=+ \0", max_size=40))
@settings(max_examples=examples(40), deadline=None)
def test_any_text_is_read_or_refused_and_what_is_read_can_be_written_again(text):
    try:
        fields = parse_form(text)
        again = parse_form(encode_form(fields))
    except FormError:
        return
    assert again == fields


WRITTEN = {
    "nested fields": (
        {"actions": [{"cmd": "assign_tag", "tag_name": "VIP"}], "lead": {"email": "a@b.c"}},
        "actions%5B0%5D%5Bcmd%5D=assign_tag&actions%5B0%5D%5Btag_name%5D=VIP&lead%5Bemail%5D=a%40b.c",
    ),
    "booleans are 1 and 0": ({"a": True, "b": False}, "a=1&b=0"),
    "null is empty": ({"a": None}, "a="),
    "numbers are plain": ({"a": 12, "b": 1.5, "c": 1e20}, "a=12&b=1.5&c=100000000000000000000"),
    "a space is %20": ({"a": "x y+z"}, "a=x%20y%2Bz"),
    "a slash is encoded": ({"a": "x/y"}, "a=x%2Fy"),
    "gaps stay gaps": ({"a": {"5": "x"}}, "a%5B5%5D=x"),
    "empty lists and objects write nothing": ({"a": [], "b": {"c": {}}, "d": 1}, "d=1"),
}


@pytest.mark.parametrize(("fields", "text"), WRITTEN.values(), ids=WRITTEN)
def test_written_as_kartra_reads_it(fields, text):
    assert encode_form(fields) == text


READ_NAMES = {
    "a plain name": ("a", ("a",)),
    "brackets nest": ("a[0][cmd]", ("a", "0", "cmd")),
    "empty brackets take the next number": ("a[]", ("a", None)),
    "a space in brackets is empty too": ("a[ ]", ("a", None)),
    "dots and spaces become _": ("a.b c", ("a_b_c",)),
    "inside brackets they stay": ("a[b.c d]", ("a", "b.c d")),
    "leading spaces go": ("  a", ("a",)),
    "a NUL ends the name": ("cmd\0x", ("cmd",)),
    "an open bracket joins a top-level name": ("a[b.c", ("a_b_c",)),
    "an open bracket further on is forgotten": ("a[0][cmd", ("a", "0")),
    "what follows a closed bracket is forgotten": ("a[0]x[cmd]", ("a", "0")),
    "brackets in brackets": ("a[b[c]", ("a", "b[c")),
}


@pytest.mark.parametrize(("name", "places"), READ_NAMES.values(), ids=READ_NAMES)
def test_names_are_read_as_php_reads_them(name, places):
    assert read_name(name) == places


def test_numbers_go_on_after_a_gap():
    assert parse_form("a[3]=x&a[]=y&a[k]=z&a[]=w") == {
        "a": {"3": "x", "4": "y", "k": "z", "5": "w"}
    }


def test_names_and_values_are_decoded_exactly_once():
    assert split_name("a%2562=1%2532+x") == [("a%62", "1%32 x")]


UNREADABLE = {
    "a repeated field": "a=1&a=2",
    "a field repeated under another spelling": "a.b=1&a_b=2",
    "a value that is a list too": "a=1&a[b]=2",
    "a list that is a value too": "a[b]=2&a=1",
    "a bare semicolon": "a=1;b=2",
    "an HTML ampersand": "a=1&amp;b=2",
    "no equals sign": "a",
    "a broken percent sequence": "a=%zz",
    "bytes that are not UTF-8": "a=%ff",
    "an overlong dot": "a=%c0%ae",
    "no name": "=1",
    "nothing but brackets": "[a]=1",
    "too deep a name": "a" + "[0]" * 32 + "=1",
    "too many fields": "&".join(f"a{i}=1" for i in range(1001)),
}


@pytest.mark.parametrize("text", UNREADABLE.values(), ids=UNREADABLE)
def test_what_parsers_read_differently_is_not_read(text):
    with pytest.raises(FormError):
        parse_form(text)


UNWRITABLE = {
    "brackets in a name": {"actions[0][cmd]": "x"},
    "brackets in a deeper name": {"a": {"b][c": "x"}},
    "an empty name": {"": 1},
    "a space in a name": {"a b": 1},
    "a name like a flag": {"-d": 1},
    "half a character": {"a": "\ud800"},
    "a number without end": {"a": float("inf")},
    "a number too long": {"a": 10**5000},
    "too many fields": {"a": ["x"] * 1001},
}


@pytest.mark.parametrize("fields", UNWRITABLE.values(), ids=UNWRITABLE)
def test_what_cannot_be_read_back_is_not_written(fields):
    with pytest.raises(FormError):
        encode_form(fields)


def test_an_unreadable_or_unwritable_name_is_named_with_its_fault():
    with pytest.raises(FormError, match="nests deeper than 32"):
        parse_form(UNREADABLE["too deep a name"])
    with pytest.raises(FormError, match="other characters than letters") as caught:
        encode_form({"a": {"b][c": "x"}})
    assert caught.value.name == "b][c"


@pytest.mark.parametrize("levels", [31, 32])
def test_a_name_may_have_as_many_places_as_a_value_has_levels(levels):
    name = "a" + "[0]" * levels
    if levels < 32:
        assert read_name(name) == ("a", *["0"] * levels)
    else:
        with pytest.raises(FormError):
            read_name(name)


@pytest.mark.parametrize("char", ["\t", "\n", "\r"], ids=["tab", "line feed", "return"])
@pytest.mark.parametrize("letter", ["a", "ä"], ids=["ASCII", "another letter"])
def test_white_space_in_a_text_is_seen_and_other_controls_are_not(letter, char):
    assert normalize_text(f"{letter}{char}b") == f"{letter}{char}b"
    assert normalize_text(f"{letter}\x01\x7fb") == f"{letter}b"


@pytest.mark.parametrize(
    "name", ["CMD", " cmd", "cmd\t", "ｃｍｄ", "c\u200bmd", "cmd\0", "ｃMd\u2060", "c\ufe0fmd"]
)
def test_loose_spellings_read_as_one_name(name):
    assert php_name(name) == "cmd"


FORMS_WITH_COMMANDS = {
    "a cmd": "cmd=x",
    "a cmd in brackets": "a[0][cmd]=x",
    "a cmd behind an ampersand": "a=1&cmd=x",
    "a cmd behind a semicolon": "a=1;cmd=x",
    "a cmd behind a question mark": "https://x.example/?cmd=x",
    "a cmd in capitals": "CMD=x",
    "a cmd with an invisible character": "c\u200bmd=x",
    "get_lead": "get_lead[id]=1",
    "get_lead, as PHP reads it": "get.lead[id]=1",
    "a credential": "api_key=x",
    "a credential in brackets": "a[app_id]=x",
    "a cmd encoded four times": "%25252563md=x",
}
FORMS_WITHOUT_COMMANDS = {
    "a field": "a[0][b]=cmd",
    "a value": "a=cmd",
    "a word with cmd": "cmdx=1&xcmd=1",
    "a text": "cmd and api_key are words",
    "another key": "key=1",
}


@pytest.mark.parametrize("text", FORMS_WITH_COMMANDS.values(), ids=FORMS_WITH_COMMANDS)
def test_a_command_in_a_form_is_found(text):
    assert parses_to_command(text)


@pytest.mark.parametrize("text", FORMS_WITHOUT_COMMANDS.values(), ids=FORMS_WITHOUT_COMMANDS)
def test_a_form_without_a_command_passes(text):
    assert not parses_to_command(text)


def percent_encoded(text, times):
    for _ in range(times):
        text = quote(text, safe="").replace("c", "%63")
    return text


@pytest.mark.parametrize("times", range(7))
def test_a_command_under_any_number_of_encodings_is_found(times):
    assert contains_command(percent_encoded("cmd=x", times))


@pytest.mark.parametrize(("times", "expected"), [(3, False), (4, False), (5, True)])
def test_a_harmless_text_passes_under_up_to_four_encodings(times, expected):
    assert contains_command(percent_encoded("cat", times)) is expected


INVISIBLE = {
    "control": "\x85",
    "format": "\u200b",
    "half a character": "\udc00",
    "private use": "\ue000",
    "unassigned": "\u0378",
    "combining mark": "\u0334",
    "enclosing mark": "\u20dd",
}


@pytest.mark.parametrize("char", INVISIBLE.values(), ids=INVISIBLE)
def test_a_name_is_compared_without_what_cannot_be_seen(char):
    assert php_name(f"c{char}md") == "cmd"


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("C M\tD\n", "cmd"),
        ("get.lead", "get_lead"),
        ("a\u00a0b", "ab"),
        ("\uff43md", "cmd"),
        ("\u00e4\u00a0b", "\u00e4b"),
    ],
    ids=["spaces", "a dot", "a hard space", "full width", "a letter with an accent"],
)
def test_a_name_is_read_as_the_most_lenient_parser_reads_it(name, meant):
    assert php_name(name) == meant


@pytest.mark.parametrize("name", ["_method", "_Method", "X-HTTP-Method-Override", "xHttpMethod"])
def test_a_method_override_is_known_in_any_spelling(name):
    assert is_method_override(name)
    assert not is_method_override(f"x{name}x")

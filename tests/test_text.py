"""Untrusted text is made safe to show, and otherwise unchanged."""

from __future__ import annotations

import json
import time
import unicodedata

import pytest
from harness import action, call, connect, healthy
from hypothesis import given
from hypothesis import strategies as st

from kartra_mcp.core.sanitize import (
    dump_json,
    map_strings,
    redact_command,
    redact_fields,
    redact_secrets,
    safe_excerpt,
    sanitize_and_dump,
    strip_ansi,
    strip_control_chars,
    truncate,
)

HIDDEN = {
    "left-to-right embedding": "\u202a",
    "right-to-left override": "\u202e",
    "isolate": "\u2067",
    "zero width space": "\u200b",
    "zero width joiner": "\u200d",
    "byte order mark": "\ufeff",
    "soft hyphen": "\u00ad",
    "word joiner": "\u2060",
    "a tag letter": "\U000e0041",
    "cancel tag": "\U000e007f",
    "a variation selector": "\ufe0f",
    "a variation selector of the supplement": "\U000e0100",
    "a half of a character": "\ud83d",
    "private use": "\ue000",
    "escape": "\x1b",
    "bell": "\x07",
    "NUL": "\0",
    "a C1 control": "\x9b",
    "a lone carriage return": "\r",
    "Hangul filler": "\u3164",
}


@pytest.mark.parametrize("case", HIDDEN)
def test_what_cannot_be_seen_is_removed(case: str):
    assert strip_control_chars(f"pay{HIDDEN[case]}ment") == "payment"


@pytest.mark.parametrize(
    "text",
    ["plain", "a\nb\tc", "Ünïcödé", "日本語", "emoji 🎉", "שלום", "١٢٣", "€ 97,00", "a—b “c”"],
    ids=lambda text: f"{text!r} stays",
)
def test_what_can_be_seen_stays(text: str):
    assert strip_control_chars(text) == text


def test_a_line_break_of_windows_is_a_line_break():
    assert strip_control_chars("a\r\nb") == "a\nb"


@given(st.text(st.characters(categories=["L", "M", "N", "P", "S", "Z", "C"])))
def test_cleaning_twice_changes_nothing_and_leaves_nothing_hidden(text: str):
    once = strip_control_chars(text)
    assert strip_control_chars(once) == once
    hidden = {c for c in once if unicodedata.category(c) in {"Cc", "Cf", "Cs"}}
    assert hidden <= {"\n", "\t"}


@pytest.mark.parametrize("case", HIDDEN)
def test_what_cannot_be_seen_is_removed_from_json_as_one_line(case: str):
    hidden = HIDDEN[case]
    assert sanitize_and_dump({f"p{hidden}ay": [f"me{hidden}nt"]}) == (
        {"pay": ["ment"]},
        '{"pay":["ment"]}',
    )


WORDS = st.text(st.sampled_from(["a", "\\", '"', "/", "u", "é", "\n", "\t", *HIDDEN.values()]))
ANY_JSON = st.recursive(
    WORDS | st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False),
    lambda inner: st.lists(inner) | st.dictionaries(WORDS, inner),
)


@given(ANY_JSON)
def test_what_is_cleaned_as_one_line_is_as_clean_as_each_string_by_itself(given_json: object):
    each = map_strings(given_json)
    assert sanitize_and_dump(given_json) == (each, dump_json(each))


def test_json_is_cleaned_everywhere_and_loses_no_field():
    given_json = {"a\u200b": "x\u202ey", "a": [None, True, 1.5, {"b\0": ""}]}
    assert map_strings(given_json) == {"a": "xy", "a (2)": [None, True, 1.5, {"b": ""}]}


SECRETS = {
    "a JWT": ("eyJhbGciOiJIUzI1NiJ9.eyJpZCI6MX0.c2lnbmF0dXJl", "c2lnbmF0dXJl"),
    "a bearer token": ("Authorization: Bearer s3cr3tvalue", "s3cr3tvalue"),
    "basic credentials": ("authorization: Basic czNjcjN0OnZhbHVl", "czNjcjN0"),
    "a header of another scheme": ("Authorization: token s3cr3t", "s3cr3t"),
    "a personal token": ("used pat-s3cr3tvalue", "s3cr3tvalue"),
    "Kartra's key as JSON": ('{"api_key":"s3cr3t","lead":1}', "s3cr3t"),
    "Kartra's password as JSON": ('{"api_password": "s3cr3t"}', "s3cr3t"),
    "Kartra's app as JSON": ('{"app_id": "s3cr3t"}', "s3cr3t"),
    "a number as JSON": ('{"api_key": 55501234}', "55501234"),
    "a quote inside the value": ('{"password": "a\\"s3cr3t"}', "s3cr3t"),
    "JSON inside of JSON": ('"{\\"api_key\\":\\"s3cr3t\\"}"', "s3cr3t"),
    "a form": ("app_id=s3cr3t&lead[id]=7", "s3cr3t"),
    "a nested form": ("auth[api_key]=s3cr3t&lead[id]=7", "s3cr3t"),
    "a variable": ("MEMBRANE_WORKSPACE_SECRET=s3cr3t", "s3cr3t"),
    "camel case": ('{"accessToken":"s3cr3t","workspaceSecret":"s3cr3t"}', "s3cr3t"),
    "a header of a key": ("X-Api-Key: s3cr3t", "s3cr3t"),
    "a private key": ("private_key: s3cr3t", "s3cr3t"),
    "cookies": ("Cookie: a=s3cr3t; b=s3cr3t", "s3cr3t"),
    "a PIN": ("pin=8512", "8512"),
    "PHP's print_r": ("Array ( [api_key] => s3cr3t [lead] => 7 )", "s3cr3t"),
    "PHP's print_r over lines": ("Array\n(\n    [api_password] => my s3cr3t\n)\n", "s3cr3t"),
    "PHP's print_r of a property": ("Client Object ( [api_key:protected] => s3cr3t )", "s3cr3t"),
    "PHP's var_dump": ('array(1) { ["api_key"]=> string(6) "s3cr3t" }', "s3cr3t"),
    "PHP's var_dump over lines": ('["app_id"]=>\n  string(6) "s3cr3t"\n', "s3cr3t"),
    "PHP's var_export": ("array ( 'api_key' => 's3cr3t', )", "s3cr3t"),
    "PHP's serialize": ('a:1:{s:7:"api_key";s:6:"s3cr3t";}', "s3cr3t"),
    "XML": ("<auth><api_key>s3cr3t</api_key></auth>", "s3cr3t"),
    "XML with attributes": ('<k:password kind="x">s3cr3t</k:password>', "s3cr3t"),
    "XML with CDATA": ("<api_key><![CDATA[s3cr3t]]></api_key>", "s3cr3t"),
    "XML escaped": ("&lt;api_key&gt;s3cr3t&lt;/api_key&gt;", "s3cr3t"),
    "a pair of attributes": ('<input name="api_key" value="s3cr3t">', "s3cr3t"),
    "a pair of fields": ('{"name":"api_key","value":"s3cr3t"}', "s3cr3t"),
    "a bracketed name": ("api[key]=s3cr3t&x=1", "s3cr3t"),
    "an encoded bracket": ("api%5Bkey%5D=s3cr3t&x=1", "s3cr3t"),
    "an encoded bracket in lower case": ("auth%5bapi_key%5d=s3cr3t", "s3cr3t"),
    "a bracket encoded twice": ("auth%255Bapi_key%255D=s3cr3t", "s3cr3t"),
    "an encoded underscore": ("api%5Fkey=s3cr3t", "s3cr3t"),
    "an encoded equals sign": ("body=api_key%3Ds3cr3t", "s3cr3t"),
    "encoded JSON": ("%7B%22api_key%22%3A%22s3cr3t%22%7D", "s3cr3t"),
    "a value in an object": ('"api_key": {"value": "s3cr3t"}', "s3cr3t"),
    "values in a list": ('"tokens": [1], "token": ["a", "s3cr3t"]', "s3cr3t"),
    "a live key": ("charged with sk_live_s3cr3ts3cr3t", "s3cr3t"),
    "a test key": ("rk_test_s3cr3ts3cr3t", "s3cr3t"),
    "a key of a webhook": ("whsec_s3cr3ts3cr3t", "s3cr3t"),
    "a key of a model": ("sk-proj-s3cr3ts3cr3ts3cr3t", "s3cr3t"),
    "a key of a repository": ("ghp_s3cr3ts3cr3ts3cr3t", "s3cr3t"),
    "a PEM block": (
        "-----BEGIN RSA PRIVATE KEY-----\ns3cr3t\n-----END RSA PRIVATE KEY-----",
        "s3cr3t",
    ),
    "a PEM block that was cut": ("-----BEGIN PRIVATE KEY-----\ns3cr3t", "s3cr3t"),
    "an option": ("membrane --token=s3cr3t run", "s3cr3t"),
    "an option and its value": ("membrane --workspace-secret s3cr3t1 run", "s3cr3t"),
    "an address with credentials": ("https://me:s3cr3t@api.getmembrane.com/x", "s3cr3t"),
}


@pytest.mark.parametrize("case", SECRETS)
def test_a_secret_is_removed(case: str):
    text, secret = SECRETS[case]
    assert secret not in redact_secrets(text)
    assert redact_secrets(redact_secrets(text)) == redact_secrets(text)


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("4111111111111111", "[card …1111]"),
        ("4111 1111 1111 1111", "[card …1111]"),
        ("5500-0055-5555-5559", "[card …5559]"),
        ("4111.1111.1111.1111", "[card …1111]"),
        ("4111\u00a01111\u00a01111\u00a01111", "[card …1111]"),
        ("4111  1111  1111  1111", "[card …1111]"),
        ("3782.822463.10005", "[card …0005]"),
        ("amex 378282246310005.", "amex [card …0005]."),
        ("paid with 4242424242424242, thanks", "paid with [card …4242], thanks"),
    ],
    ids=[
        "bare",
        "spaced",
        "dashed",
        "dotted",
        "hard blanks",
        "two blanks",
        "amex with dots",
        "at the end of a sentence",
        "before a comma",
    ],
)
def test_of_a_card_the_last_four_digits_stay(text: str, left: str):
    assert redact_secrets(text) == left


@pytest.mark.parametrize(
    "text",
    [
        "4111111111111112",  # no card: the check digit is wrong
        "1700000000000",  # a time in milliseconds
        "0000000000000000",
        "41111111111111111111111",
        "transaction 48110",
        "97.00 USD",
        "0.4111111111111111",
        "ann.lee+kartra@example.com",
        "650e12345678901234567890",
        "subscription_id: 90001",
        "tag_name=Gold&lead[email]=a@b.c",
        "2026-11-23 10:00:00",
        "+1 (555) 010-0199",
        "the token is missing",
        "https://app.kartra.com/api?x=1",
        '{"message": "No lead found", "type": "243"}',
        "shipping: 5",
        "Array ( [transaction_id] => 101 [amount] => 97.00 )",
        '["subscription_id"]=> int(5001)',
        "<transaction_id>101</transaction_id><amount>97.00</amount>",
        "actions%5B0%5D%5Bcmd%5D=search_lead",
        "4111.11 4222.22 4333.33",
        "2026.1123.1000.0000",
        "4111.1111.1111.1112",
        "task_list_s3quence",
        "risk_live_12345678",
        "membrane action run --connection c1 --input 12345678",
        "run with --token",
        "10.20.30.40 and 192.168.100.200",
    ],
)
def test_what_is_no_secret_stays(text: str):
    assert redact_secrets(text) == text


COMMANDS = {
    "an option": ["membrane", "--token=s3cr3t"],
    "an option and its value": ["membrane", "--token", "s3cr3t"],
    "an option whose value is short": ["node", "m.js", "--api-key", "s3cr3t"],
    "a variable": ["env", "MEMBRANE_WORKSPACE_SECRET=s3cr3t", "membrane"],
    "a header": ["proxy", "--header", "Authorization: Bearer s3cr3ts3cr3t"],
}


@pytest.mark.parametrize("words", COMMANDS.values(), ids=COMMANDS)
def test_a_command_is_shown_without_its_secrets(words: list[str]):
    shown = redact_command(words)
    assert "s3cr3t" not in " ".join(shown)
    assert len(shown) == len(words)
    assert shown[0] == words[0]


def test_a_field_named_like_a_secret_is_removed_whatever_its_value():
    given = {"a": {"api_key": "s3cr3t", "token": ["s3cr3t"], "auth": {"password": {"x": "s3cr3t"}}}}
    shown = redact_fields(given | {"id": 101, "amount": "97.00", "token": None})
    assert "s3cr3t" not in str(shown)
    assert (shown["id"], shown["amount"], shown["token"]) == (101, "97.00", None)


@pytest.mark.parametrize("hidden", "\u2028\u2029\u0085\x0b\x0c\x1c\u180b\u17b4\ufeff\u2066")
def test_a_character_that_breaks_or_hides_text_is_removed(hidden: str):
    assert strip_control_chars(f"a{hidden}b") == "ab"


def test_colours_and_links_of_a_terminal_are_removed():
    assert strip_ansi("\x1b[31mred\x1b[0m \x1b]8;;https://x\x07link\x1b]8;;\x07") == "red link"


@pytest.mark.parametrize(
    ("length", "left"), [(5, "12345"), (4, "123…"), (1, "…")], ids=["whole", "cut", "nothing"]
)
def test_cut_text_is_never_longer_than_asked(length: int, left: str):
    assert truncate("12345", length) == left


def test_shown_text_is_clean_without_secrets_and_cut():
    text = safe_excerpt("\x1b[1m\u202eapi_key=s3cr3t " + "x" * 600)
    assert text.startswith("api_key=[removed] xxx")
    assert len(text) == 500


@pytest.mark.parametrize("piece", ["a-", "eyJ-", 'token:"\\', "\x1b]", "4 ", "http://"], ids=repr)
def test_a_huge_text_is_shown_in_no_time(piece: str):
    began = time.monotonic()
    assert len(safe_excerpt(piece * 2_000_000)) <= 500
    assert time.monotonic() - began < 2


@given(st.text(), st.integers(1, 50))
def test_shown_text_is_never_longer_than_asked(text: str, length: int):
    assert len(safe_excerpt(text, length)) <= length


LARGE = 2**53
NUMBERS = {
    "the largest exact one": (LARGE, LARGE),
    "one above": (LARGE + 1, str(LARGE + 1)),
    "a negative one": (-LARGE - 1, str(-LARGE - 1)),
    "a long id": (12345678901234567890, "12345678901234567890"),
    "true": (True, True),
    "a fraction": (0.12345678901234567, 0.12345678901234567),
}


@pytest.mark.anyio
@pytest.mark.parametrize("case", NUMBERS)
async def test_a_number_that_javascript_rounds_is_text_in_an_answer(fake_membrane, case):
    """A client in JavaScript showed 12345678901234567890 as 12345678901234567000: another id."""
    number, shown = NUMBERS[case]
    output = {"id": number, "rows": [{"ids": [number]}]}
    plan = healthy(action("retrieve-account-tags"))
    fake_membrane.plan(**plan | {"action run": {"out": {"output": output}}})
    async with connect(fake_membrane, "2026-07-28") as client:
        answer = await call(client, "kartra_retrieve_account_tags")
    wanted = {"id": shown, "rows": [{"ids": [shown]}]}
    assert answer.result == wanted
    assert json.loads(answer.text.splitlines()[2])["result"] == wanted


@given(st.text(max_size=20), st.integers(LARGE + 1, 10**40), st.text("0123456789:- ", max_size=20))
def test_a_number_that_javascript_rounds_is_found_wherever_it_is(before, number, after):
    value = {before: 0, "dates": "2026-01-02 03:04:05", "ids": [number], "more": after}
    assert sanitize_and_dump(value)[0]["ids"] == [str(number)]

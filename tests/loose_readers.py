"""An independent reader of requests: what some parser could take for a command.

It parses a request in every loose way at once (JSON with the first or the last of two keys, forms
with both separators, decoded up to four times, texts inside texts) and collects everything that may
be a command.
"""

from __future__ import annotations

import html
import json
import re
import unicodedata
from urllib.parse import unquote_plus

from kartra_mcp.core.errors import RefusedError
from kartra_mcp.core.models import Risk
from kartra_mcp.kartra.commands import COMMANDS
from kartra_mcp.kartra.request_guard import parse_request, require_read_only

READS = frozenset(name for name, row in COMMANDS.items() if row.risk is Risk.READ)


def loose(text):
    folded = unicodedata.normalize("NFKC", text).casefold()
    return "".join(c for c in folded if unicodedata.category(c)[0] not in "CZM").strip()


def commands_in(value, depth=0):
    """Every text that some reader could take for the value of a cmd."""
    if isinstance(value, dict):
        value = list(value.items())
    if isinstance(value, list):
        for one in value:
            if isinstance(one, tuple) and loose(str(one[0])) == "cmd":
                yield from (loose(text) for text in texts(one[1]))
            yield from commands_in(one[1] if isinstance(one, tuple) else one, depth)
    elif isinstance(value, str) and depth < 5:
        yield from in_text(value, depth)


def texts(value):
    if isinstance(value, dict | list):
        inner = value.values() if isinstance(value, dict) else value
        return [text for one in inner for text in texts(one)]
    return [value[1] if isinstance(value, tuple) else str(value)]


def in_text(text, depth):
    try:
        parsed = json.loads(text, object_pairs_hook=list_of_pairs)
    except (ValueError, RecursionError):
        parsed = None
    if isinstance(parsed, list):
        yield from commands_in(parsed, depth + 1)
    yield from in_form(text)
    for again in {unquote_plus(text), html.unescape(text)} - {text}:
        yield from commands_in(again, depth + 1)


def list_of_pairs(pairs):
    return [(name, value) for name, value in pairs] or [("", "")]


def in_form(text):
    for piece in re.split("[&;]", text):
        name, _, value = piece.partition("=")
        parts = re.split(r"[\[\]]", unquote_plus(name))
        if any(loose(part.split("\0")[0]) == "cmd" for part in parts):
            yield loose(unquote_plus(value))


def dangers(*values):
    return {found for value in values for found in commands_in(value)} - READS - {""}


def sent(request):
    return [request.body or "", *([f"{name}={text}" for name, text in request.query])]


def passes(arguments, judge=require_read_only):
    try:
        request = parse_request(arguments)
        judge(request)
    except RefusedError:
        return None
    return request


WORDS = [
    r"actions",
    r"[0]",
    r"[1]",
    r"[]",
    r"[",
    r"]",
    r"[cmd]",
    r"cmd",
    r"CMD",
    r"=",
    r"&",
    r";",
    r"&amp;",
    r"%",
    r"%5B",
    r"%5d",
    r"%25",
    r"%00",
    r"+",
    r".",
    r"_",
    r"lead",
    r"get_lead",
    r"[id]",
    r"7",
    r"\u0063",
    r'"',
    r"'",
    r":",
    r",",
    r"{",
    r"}",
    r'{"actions":[{"cmd":"',
    r'"}]',
    r'"cmd":"',
    r"ｃ",
    r"search_lead",
    r"refund_transaction",
    r"assign",
    r"actions[0][cmd]=search_lead",
]

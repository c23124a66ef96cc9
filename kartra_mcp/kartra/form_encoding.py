"""Kartra's form dialect: encode nested fields, and parse names as PHP does.

Only this file defines how a form name such as `actions[0][cmd]` becomes a position in PHP's arrays,
and how loosely a name may be spelled and still be parsed as another.
"""

from __future__ import annotations

import html
import math
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from typing import Any
from urllib.parse import quote, unquote_plus, unquote_to_bytes

from kartra_mcp.core.json_types import is_array, is_object
from kartra_mcp.kartra import commands
from kartra_mcp.kartra import fields as kartra_fields

MAX_FIELDS = 1000
"""PHP's max_input_vars: it silently drops every field after this one."""

MAX_DEPTH = 32
TOO_DEEP = f"It nests deeper than {MAX_DEPTH}"
NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]*")
"""Permitted names: no character that any parser could take for structure."""

Places = tuple[str | None, ...]
"""Path into PHP's arrays; None is `[]`, the next free number."""

_MANGLED = str.maketrans(" .[", "___")
_BLANK = frozenset(["", *" \t\n\v\f\r"])
_BROKEN_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_ESCAPE = re.compile(r"""\\(?:u([0-9A-Fa-f]{4})|(["'\\/]))""")
_CREDENTIALS = frozenset(kartra_fields.normalize_name(name) for name in commands.CREDENTIALS)
_OVERRIDES = frozenset({"xhttpmethodoverride", "xhttpmethod", "xmethodoverride", "methodoverride"})
_COMMAND_NAMES = frozenset({"cmd", "getlead"})
_FIELD_IN_TEXT = re.compile(
    r"""
    ["'\[<] \s* (?:cmd|get_lead) \s* [\\"'\]>]
    | (?<![a-z0-9_]) (?:cmd|get_lead) \s* [=:\[]
    | (?<![a-z0-9_]) actions ["'\\]* \s* (?: \[ | [:=] \s* [\[{] )
    | (?<![a-z0-9]) (?:app[ _.-]?id|api[ _.-]?key|api[ _.-]?password) [\\"'\]]* \s* [=:]
    """,
    re.VERBOSE,
)

_CONTROL = {code: None for code in (*range(32), 127) if chr(code) not in "\t\n\r"}


class FormError(ValueError):
    """Reason why a form cannot be encoded or parsed, and the name it is about."""

    def __init__(self, what: str, name: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.name = name


def encode_form(fields: Mapping[str, Any]) -> str:
    """Encode nested fields as a form that PHP parses back to the same fields.

    Booleans become 1 and 0, null becomes empty, lists are numbered; an empty list or object is left
    out, as in PHP's own `http_build_query`.
    """
    pairs = [
        pair for name, value in fields.items() for pair in _iter_pairs(_check_name(name), value)
    ]
    text = "&".join(f"{_encode(name)}={_encode(value)}" for name, value in pairs)
    if parse_form(text) != php_value(dict(fields)):
        raise FormError("The form would not be read as it was given")
    return text


def parse_form(text: str) -> dict[str, Any]:
    """Return the arrays that PHP makes of the form.

    Raises:
        FormError: another parser could read the form differently.
    """
    if ";" in text:
        raise FormError("A form holds a bare `;`, which some parsers take for a separator")
    return unflatten((read_name(name), value) for name, value in split_name(text))


def split_name(text: str) -> list[tuple[str, str]]:
    """Return the pairs of a form, each decoded exactly once."""
    pieces = [piece for piece in text.split("&") if piece]
    if len(pieces) > MAX_FIELDS:
        raise FormError(f"A form has more than {MAX_FIELDS} fields, of which PHP drops the rest")
    return [_split_pair(piece) for piece in pieces]


def read_name(name: str) -> Places:
    """Return PHP's path of a name, e.g. `a.b[ 0][]` is `a_b`, ` 0`, next."""
    root, bracket, rest = name.split("\0", 1)[0].lstrip(" ").partition("[")
    places: list[str | None] = [root.translate(_MANGLED)]
    if not root:
        raise FormError("A form has a field without a name", name)
    while bracket:
        index, closed, rest = rest.partition("]")
        if not closed:
            return _join_unclosed(places, index)
        places.append(None if index in _BLANK else index)
        bracket, rest = rest[:1] == "[", rest[1:]
    if len(places) > MAX_DEPTH:
        raise FormError(TOO_DEEP)
    return tuple(places)


def unflatten(fields: Iterable[tuple[Places, Any]]) -> dict[str, Any]:
    """Return the arrays of all fields.

    PHP lets the last of two equal fields win; here a repetition is an error, because a check of one
    and execution of the other would be a bypass.
    """
    tree: dict[str, Any] = {}
    for places, value in fields:
        _put(tree, places, value)
    return tree


def php_value(value: Any) -> Any:
    """Return a value as PHP has it after parsing its form: arrays by name, and only text."""
    if is_object(value):
        read_fields = {str(name): php_value(inner) for name, inner in value.items()}
        return {name: inner for name, inner in read_fields.items() if inner != {}}
    if is_array(value):
        return php_value({str(index): inner for index, inner in enumerate(value)})
    return _format_scalar(value)


def normalize_text(text: str) -> str:
    """Return a text as a lenient parser compares it: NFKC, one case, nothing invisible."""
    if text.isascii():
        return text.lower().translate(_CONTROL)
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    return "".join(char for char in folded if not _is_invisible(char))


def php_name(name: str) -> str:
    """Return the name that the most lenient parser takes a name for; `Actions ` is `actions`."""
    return "".join(normalize_text(name).split()).replace(".", "_")


def is_credential(name: str) -> bool:
    return kartra_fields.normalize_name(php_name(name)) in _CREDENTIALS


def is_method_override(name: str) -> bool:
    read = php_name(name)
    return read == "_method" or kartra_fields.normalize_name(read) in _OVERRIDES


def contains_command(text: str) -> bool:
    """Return True if a text, or a text encoded in it, has a command or a credential as a field.

    A text with more layers of encoding than are checked counts as hiding one.
    """
    readings = _iter_decodings(text)
    unseen = _decode_any(readings[-1]) != readings[-1]
    return unseen or any(_FIELD_IN_TEXT.search(normalize_text(reading)) for reading in readings)


def parses_to_command(text: str) -> bool:
    """Return True if any parsing of the text as a form finds a field that would be a command."""
    return any(
        kartra_fields.normalize_name(php_name(part)) in _COMMAND_NAMES or is_credential(part)
        for reading in _iter_decodings(text)
        for piece in re.split("[&;?]", reading)
        for part in re.split(r"[\[\]]", piece.partition("=")[0])
    )


def _iter_decodings(text: str) -> list[str]:
    """Yield a text and what it decodes to, up to four times."""
    readings = [text]
    while len(readings) < 5 and (decoded := _decode_any(readings[-1])) != readings[-1]:  # noqa: PLR2004
        readings.append(decoded)
    return readings


def _decode_any(text: str) -> str:
    """Remove one layer of percent, HTML and JSON escapes."""
    return _ESCAPE.sub(_decode_escape, html.unescape(unquote_plus(text)))


def _decode_escape(escape: re.Match[str]) -> str:
    return chr(int(escape[1], 16)) if escape[1] else escape[2]


def check_depth(value: Any) -> None:
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [inner for outer in level for inner in _list_containers(outer)]
    if level:
        raise FormError(TOO_DEEP)


def _list_containers(value: Any) -> list[Any]:
    """Yield the lists and objects directly inside a value."""
    inner = value.values() if is_object(value) else value if is_array(value) else ()
    return [one for one in inner if isinstance(one, dict | list)]


def _is_invisible(char: str) -> bool:
    if char in "\t\n\r":
        return False
    return unicodedata.category(char) in {"Cc", "Cf", "Cs", "Co", "Cn", "Mn", "Me"}


def _check_name(name: str) -> str:
    if not NAME.fullmatch(name):
        raise FormError("A name has other characters than letters, digits, `_` and `-`", name)
    return name


def _iter_pairs(name: str, value: Any) -> Iterator[tuple[str, str]]:
    if is_object(value):
        for inner, deeper in value.items():
            yield from _iter_pairs(f"{name}[{_check_name(inner)}]", deeper)
    elif is_array(value):
        for index, deeper in enumerate(value):
            yield from _iter_pairs(f"{name}[{index}]", deeper)
    else:
        yield name, _format_scalar(value)


def _format_scalar(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(int(value))
    return _format_number(value) if isinstance(value, int | float) else str(value)


def _format_number(value: float) -> str:
    if isinstance(value, float) and not math.isfinite(value):
        raise FormError("A number is not finite")
    try:
        return format(Decimal(repr(value)), "f")
    except ValueError as error:
        raise FormError("A number is too long to be written") from error


def _encode(text: str) -> str:
    try:
        return quote(text, safe="")
    except UnicodeError as error:
        raise FormError("A text holds half a character") from error


def _split_pair(piece: str) -> tuple[str, str]:
    name, equals, value = piece.partition("=")
    if not equals:
        raise FormError("The text is neither JSON nor a form: a field has no `=`")
    return _decode(name), _decode(value)


def _decode(text: str) -> str:
    if _BROKEN_ESCAPE.search(text):
        raise FormError("A form holds a `%` without two hexadecimal digits")
    try:
        return unquote_to_bytes(text.replace("+", " ")).decode()
    except UnicodeError as error:
        raise FormError("A form holds bytes that are not UTF-8") from error


def _join_unclosed(places: list[str | None], rest: str) -> Places:
    """Return True if a `[` never closes: PHP joins it to a top-level name and drops it deeper."""
    if len(places) == 1:
        return (f"{places[0]}_{rest.translate(_MANGLED)}",)
    return tuple(places)


def _put(tree: dict[str, Any], places: Places, value: Any) -> None:
    *way, last = places
    for place in way:
        tree = tree.setdefault(_next_key(tree, place), {})
        if not isinstance(tree, dict):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise FormError("A field is both a value and a list", _name(places))
    if _next_key(tree, last) in tree:
        raise FormError("A field is repeated", _name(places))
    tree[_next_key(tree, last)] = value


def _next_key(tree: Mapping[str, Any], place: str | None) -> str:
    if place is not None:
        return place
    return str(1 + max((int(key) for key in tree if re.fullmatch(r"\d{1,9}", key)), default=-1))


def _name(places: Places) -> str:
    root, *inner = (place or "" for place in places)
    return root + "".join(f"[{place}]" for place in inner)

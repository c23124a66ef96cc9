"""Minimal edits of a YAML text: our block is inserted or removed as whole lines."""

from __future__ import annotations

import json
import re
import warnings
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from kartra_mcp.client_config.errors import UneditableConfigError
from kartra_mcp.core.json_types import is_array, is_object
from kartra_mcp.core.yaml_depth import YamlTooDeepError, limit_depth

UNIT = "  "
_EMPTY = frozenset({"", "{}", "~", "null", "Null", "NULL"})
"""Spellings of an empty mapping or of null, without blanks."""
_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
_WORDS = frozenset("y n yes no on off true false null".split())  # noqa: SIM905
"""Words that some YAML parsers read as a boolean or null; they must be quoted."""
_TAG_ERRORS = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)
"""Errors of the parser for a value that is none of its tag, such as `!!bool x`."""


def read(text: str) -> Any:
    """Parse the text; an empty text is an empty mapping.

    Raises:
        UneditableConfigError: it is not YAML, has more than one document, or a duplicate name.
    """
    data = _read(text, "load")
    return {} if data is None else data


def set_entry(text: str, path: Sequence[str], value: Mapping[str, Any]) -> str:
    """Set the mapping at `path` (OUTER, NAME): in its place, or before its siblings.

    Raises:
        UneditableConfigError: it cannot be parsed, or OUTER is not written as lines below its name.
    """
    outer, name = path
    newline = "\r\n" if "\r\n" in text else "\n"
    rows = {name: value}
    place = _find_lines(text, path)
    if place is not None:
        start, end, indent = place
        return text[:start] + _format_block(rows, indent, newline) + text[end:]
    found = _find_pair(_compose_root(text), outer)
    if found is None:
        start = text + newline if text.strip("\ufeff") and not text.endswith("\n") else text
        return start + f"{outer}:{newline}" + _format_block(rows, UNIT, newline)
    name_of_it, inside = found
    if not inside.value and not getattr(inside, "tag", "").endswith(":str"):
        return _fill_outer(text, (name_of_it, inside), _format_block(rows, UNIT, newline), newline)
    if inside.id != "mapping" or inside.flow_style:
        raise UneditableConfigError(f"has `{outer}` in a form that cannot be edited")
    indent = " " * inside.value[0][0].start_mark.column
    at = _find_line_end(text, name_of_it.end_mark.index)
    return text[:at] + _format_block(rows, indent, newline) + text[at:]


def remove_entry(text: str, path: Sequence[str]) -> str:
    """Remove the mapping at `path` with its lines; comments around it are kept.

    Raises:
        UneditableConfigError: it cannot be parsed.
    """
    place = _find_lines(text, path)
    if place is None:
        return text
    start, end, _ = place
    found = _find_pair(_compose_root(text), path[0])
    left = text[:start] + text[end:]
    if found is None or len(found[1].value) > 1:
        return left
    at = _find_colon_end(text, found[0])
    return left[:at] + " {}" + left[at:]


def _fill_outer(text: str, found: Any, block: str, newline: str) -> str:
    """Put our block below an empty `outer:`, `outer: {}` or `outer: null`."""
    name, inside = found
    at = _find_colon_end(text, name)
    empty = inside.start_mark.index < inside.end_mark.index
    if (
        empty and "".join(text[at : inside.end_mark.index].split()) not in _EMPTY
    ):  # a tag, a comment
        raise UneditableConfigError(f"has `{name.value}` in a form that cannot be edited")
    behind = text[inside.end_mark.index :] if empty else text[at:]
    rest, line, below = behind.partition("\n")
    return text[:at] + rest.rstrip("\r") + newline + block + (below if line else "")


def _find_colon_end(text: str, name: Any) -> int:
    """Return the position behind the colon of a name; `? name` alone has none."""
    at = text.find(":", name.end_mark.index)
    if at < 0:
        raise UneditableConfigError(f"has `{name.value}` in a form that cannot be edited")
    return at + 1


def _find_lines(text: str, path: Sequence[str]) -> tuple[int, int, str] | None:
    """Return the lines of the entry at `path`: from its name to its last line with content."""
    outer = _find_pair(_compose_root(text), path[0])
    if outer is None or outer[1].id != "mapping":
        return None
    inner = _find_pair(outer[1], path[1])
    if inner is None:
        return None
    name, value = inner
    if outer[1].flow_style or value.id != "mapping" or value.flow_style:
        raise UneditableConfigError(f"has `{path[1]}` in a form that cannot be edited")
    start = _find_line_start(text, name.start_mark.index)
    return start, _find_line_end(text, _find_last(value)), " " * name.start_mark.column


def _find_last(node: Any) -> int:
    """Return the end of a node's content; the parser's end mark follows the comments after it."""
    if node.id == "scalar":
        return node.end_mark.index
    if node.flow_style or not node.value:
        return node.end_mark.index
    part = node.value[-1]
    return _find_last(part[1] if isinstance(part, tuple) else part)


def _find_line_start(text: str, at: int) -> int:
    return text.rfind("\n", 0, at) + 1


def _find_line_end(text: str, at: int) -> int:
    if at and text[at - 1] == "\n":
        return at
    end = text.find("\n", at)
    return len(text) if end < 0 else end + 1


def _find_pair(node: Any, name: str) -> tuple[Any, Any] | None:
    """Return the nodes of `name: value` in a mapping."""
    if node is None:
        return None
    if node.id != "mapping":
        raise UneditableConfigError("does not contain a mapping")
    return next((pair for pair in node.value if pair[0].value == name), None)


def _compose_root(text: str) -> Any:
    read(text)
    return _read(text, "compose")


def _read(text: str, how: str) -> Any:
    from ruamel.yaml import YAML
    from ruamel.yaml.error import ReusedAnchorWarning, YAMLError

    # A client may repeat an anchor, and ruamel would print a part of its file.
    warnings.simplefilter("ignore", ReusedAnchorWarning)
    try:
        deque(limit_depth(YAML(typ="safe", pure=True).parse(text)), maxlen=0)  # pyright: ignore[reportUnknownMemberType, reportUnknownArgumentType]
        return getattr(YAML(typ="safe", pure=True), how)(text)
    except YamlTooDeepError:
        raise UneditableConfigError("is nested too deeply") from None
    except (YAMLError, RecursionError, *_TAG_ERRORS) as problem:
        mark: Any = getattr(problem, "problem_mark", None)
        where = f" (line {mark.line + 1})" if mark is not None else ""
        raise UneditableConfigError(f"is not valid YAML{where}") from None


def _format_block(value: Mapping[str, Any], indent: str, newline: str) -> str:
    return "".join(row + newline for row in _iter_rows(value, indent))


def _iter_rows(value: Mapping[str, Any], indent: str) -> Iterator[str]:
    for name, part in value.items():
        if is_object(part) and part:
            yield f"{indent}{_format_scalar(name)}:"
            yield from _iter_rows(part, indent + UNIT)
        elif is_array(part) and part:
            yield f"{indent}{_format_scalar(name)}:"
            yield from (f"{indent}{UNIT}- {_format_scalar(inner)}" for inner in part)
        else:
            yield f"{indent}{_format_scalar(name)}: {_format_scalar(part)}"


def _format_scalar(value: Any) -> str:
    """Return a word unquoted, everything else as JSON, which is valid YAML."""
    if isinstance(value, str) and _PLAIN.fullmatch(value) and value.lower() not in _WORDS:
        return value
    return json.dumps(value, ensure_ascii=True)

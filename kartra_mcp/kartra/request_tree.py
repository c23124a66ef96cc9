"""Fields of a raw request as a tree, the Kartra commands in it, and the rules of their positions.

Only this file decides what in a body or a query is a command. Each rule finds the position that
violates it: a field that one of the parsers of the request (the program, Membrane, PHP) could read
differently. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Generic, NoReturn, TypeVar

from kartra_mcp.core.errors import RefusedError
from kartra_mcp.core.json_types import is_array, is_inexact, is_object
from kartra_mcp.core.models import Command
from kartra_mcp.kartra import commands
from kartra_mcp.kartra import fields as kartra_fields
from kartra_mcp.kartra.form_encoding import (
    NAME,
    contains_command,
    is_credential,
    is_method_override,
    php_name,
)

MAX_ACTIONS = 50

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Rule(Generic[T]):
    """One prohibition.

    `violation` returns True or the position of the offense; something falsy if the value obeys.
    """

    name: str
    violation: Callable[[T], bool | str]
    remedy: str


@dataclass(frozen=True, slots=True)
class Field:
    """One named position: `parents` are the names above it.

    A list element is named by its number.
    """

    parents: tuple[str, ...]
    name: str
    value: Any


@dataclass(frozen=True, slots=True)
class FieldTree:
    """Fields as the receiver will parse them. `place` is body or query."""

    place: str
    root: Any
    fields: tuple[Field, ...]


def enforce(rules: Iterable[Rule[T]], subject: T, place: str) -> None:
    """Refuse the subject by the first rule that it violates."""
    for rule in rules:
        broken = rule.violation(subject)
        if broken:
            where = broken if isinstance(broken, str) else place
            reject(f"{where} breaks a rule: {rule.name}", rule.remedy)


def reject(what: str, remedy: str) -> NoReturn:
    raise RefusedError("forbidden_request", f"{what}. Nothing was sent.", remedy)


def safe_name(name: str) -> str:
    """Return an untrusted name for display: printable, short, nothing after `=` or `:`."""
    clean = "".join(char for char in re.split("[=:]", name)[0] if char.isprintable())
    return clean if len(clean) <= 40 else f"{clean[:40]}…"  # noqa: PLR2004  a line's worth


def build_tree(place: str, root: Any) -> FieldTree:
    return FieldTree(place, root, tuple(_walk((), root)))


def validate_tree(tree: FieldTree) -> None:
    enforce(TREE_RULES, tree, tree.place)


def extract_commands(tree: FieldTree) -> tuple[Command, ...]:
    """Return every command of a validated tree, with its fields and the lead of the request."""
    if not is_object(tree.root):
        return ()
    lead = tree.root.get("lead", {})
    got = tree.root.get("get_lead")
    first = () if got is None else (Command("get_lead", dict(got), lead),)
    return first + tuple(_make_command(action.value, lead) for action in _list_actions(tree))


def _make_command(action: Mapping[str, Any], lead: Mapping[str, Any]) -> Command:
    arguments = {name: value for name, value in action.items() if name != "cmd"}
    return Command(action["cmd"], arguments, lead)


# ── From an argument to the text that is sent and the tree it is parsed as ──


def _walk(within: tuple[str, ...], value: Any) -> Iterator[Field]:
    if is_array(value):
        value = {str(index): inner for index, inner in enumerate(value)}
    if is_object(value):
        for name, inner in value.items():
            yield Field(within, name, inner)
            yield from _walk((*within, name), inner)


def _find_control_char(tree: FieldTree) -> str:
    return _find_first(tree, lambda f: bool(_UNCLEAN.search(f.name)) or _has_control_char(f.value))


def _has_control_char(value: Any) -> bool:
    return isinstance(value, str) and bool(_UNCLEAN.search(value))


def _find_rounded_number(tree: FieldTree) -> str:
    return _find_first(tree, lambda field: is_inexact(field.value))


def _find_credential(tree: FieldTree) -> str:
    found = any(is_credential(field.name) for field in tree.fields)
    return tree.place if found else ""


def _find_method_override(tree: FieldTree) -> str:
    return _find_first(tree, lambda f: not f.parents and is_method_override(f.name))


def _find_prototype_name(tree: FieldTree) -> str:
    return _find_first(tree, lambda f: php_name(f.name) in PROTOTYPES)


def _find_collision(tree: FieldTree) -> str:
    seen: set[tuple[tuple[str, ...], str]] = set()
    for field in tree.fields:
        place = (field.parents, php_name(field.name))
        if place in seen:
            return _format_location(tree, field)
        seen.add(place)
    return ""


def _look_alike(tree: FieldTree) -> str:
    return _find_first(tree, _looks_like_structure)


def _looks_like_structure(field: Field) -> bool:
    real = _STRUCTURE.get(kartra_fields.normalize_name(php_name(field.name)), field.name)
    anywhere = real in {"cmd", "get_lead"}
    return field.name != real and (anywhere or not field.parents)


def _find_hidden_command(tree: FieldTree) -> str:
    return _find_first(tree, lambda f: _is_command(f) and not _is_in_place(f))


def _is_command(field: Field) -> bool:
    return field.name in {"cmd", "get_lead"}


def _is_in_place(field: Field) -> bool:
    if field.name == "get_lead":
        return not field.parents
    return len(field.parents) == len(("actions", "0")) and field.parents[0] == "actions"


def _find_command_as_name(tree: FieldTree) -> str:
    return _find_first(
        tree, lambda f: commands.find_command(php_name(f.name)) not in {"", "get_lead"}
    )


def _find_command_in_text(tree: FieldTree) -> str:
    return _find_first(tree, lambda f: isinstance(f.value, str) and contains_command(f.value))


def _find_odd_name(tree: FieldTree) -> str:
    return _find_first(tree, lambda f: not NAME.fullmatch(f.name))


def _find_shapeless(tree: FieldTree) -> str:
    return _find_first(tree, lambda f: not f.parents and not _has_shape(f))


def _has_shape(field: Field) -> bool:
    if field.name == "actions":
        return isinstance(field.value, dict | list)
    return field.name not in {"lead", "get_lead"} or is_object(field.value)


def _find_unnumbered(tree: FieldTree) -> str:
    return _find_first(tree, lambda f: f.parents == ("actions",) and not _NUMBER.fullmatch(f.name))


def _has_too_many_actions(tree: FieldTree) -> bool:
    return len(_list_actions(tree)) > MAX_ACTIONS


def _find_action_without_command(tree: FieldTree) -> str:
    return _find_first(
        tree,
        lambda f: f.parents == ("actions",) and not (is_object(f.value) and "cmd" in f.value),
    )


def _find_command_not_text(tree: FieldTree) -> str:
    return _find_first(tree, lambda f: f.name == "cmd" and not isinstance(f.value, str))


def _find_misspelt_command(tree: FieldTree) -> str:
    return _find_first(tree, lambda f: f.name == "cmd" and _is_misspelt(f.value))


def _is_misspelt(command: str) -> bool:
    return command not in commands.COMMANDS and bool(commands.find_command(php_name(command)))


def _find_invalid_command_name(tree: FieldTree) -> str:
    return _find_first(tree, lambda f: f.name == "cmd" and not _COMMAND.fullmatch(f.value))


def _find_extra_field(tree: FieldTree) -> str:
    if not extract_commands(tree):
        return ""
    return _find_first(tree, lambda f: not f.parents and f.name not in _TOP)


_NAME_REMEDY = "Write names plainly: letters, digits, `_` and `-`, each one once."
_PLACE_REMEDY = "Put each command at actions[i].cmd, and get_lead only at the top level."
TEXT_REMEDY = "Put commands at actions[i].cmd, never inside a text."
_LOGIN_REMEDY = "Leave credentials out: Membrane adds those of the connection."
_SHAPE_REMEDY = 'Write {"actions": [{"cmd": …, …}], "lead": {…}}.'

TREE_RULES: tuple[Rule[FieldTree], ...] = (
    Rule(
        "no control characters or half characters", _find_control_char, "Remove them from the text."
    ),
    Rule(
        "no number that JavaScript rounds to another one",
        _find_rounded_number,
        "Write it as a text.",
    ),
    Rule("no credential (app_id, api_key, api_password)", _find_credential, _LOGIN_REMEDY),
    Rule("no other method than `method`", _find_method_override, "Set the argument `method`."),
    Rule("no name that JavaScript reserves", _find_prototype_name, _NAME_REMEDY),
    Rule("no two names that are parsed as one", _find_collision, _NAME_REMEDY),
    Rule("no name that only looks like cmd, actions, lead, get_lead", _look_alike, _PLACE_REMEDY),
    Rule("no command in an unexpected place", _find_hidden_command, _PLACE_REMEDY),
    Rule("no command as the name of a field", _find_command_as_name, _PLACE_REMEDY),
    Rule("no command or credential hidden in a text", _find_command_in_text, TEXT_REMEDY),
    Rule("no characters in names but letters, digits, `_`, `-`", _find_odd_name, _NAME_REMEDY),
    Rule("actions must be a list, lead and get_lead objects", _find_shapeless, _SHAPE_REMEDY),
    Rule("actions must be numbered from 0", _find_unnumbered, _SHAPE_REMEDY),
    Rule(f"at most {MAX_ACTIONS} actions", _has_too_many_actions, "Split the request."),
    Rule("every action must have a cmd", _find_action_without_command, _SHAPE_REMEDY),
    Rule("cmd must be a text", _find_command_not_text, _SHAPE_REMEDY),
    Rule(
        "a command must be spelled exactly",
        _find_misspelt_command,
        "Write it in Kartra's own spelling, e.g. search_lead.",
    ),
    Rule(
        "a command must be a word of letters, digits and `_`",
        _find_invalid_command_name,
        "Write the command's name.",
    ),
    Rule("nothing besides actions, lead and get_lead", _find_extra_field, _SHAPE_REMEDY),
)
"""Rules in order: later rules rely on the exclusions of earlier ones."""

PROTOTYPES = frozenset({"__proto__", "prototype", "constructor"})
_TOP = ("actions", "lead", "get_lead")
_STRUCTURE = {kartra_fields.normalize_name(name): name for name in (*_TOP, "cmd")}
_NUMBER = re.compile(r"0|[1-9]\d{0,5}", re.ASCII)
_COMMAND = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}")
_UNCLEAN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")


def _list_actions(tree: FieldTree) -> list[Field]:
    return [field for field in tree.fields if field.parents == ("actions",)]


def _find_first(tree: FieldTree, broken: Callable[[Field], bool]) -> str:
    return next((_format_location(tree, field) for field in tree.fields if broken(field)), "")


def _format_location(tree: FieldTree, field: Field) -> str:
    return ".".join([tree.place, *(safe_name(name) for name in (*field.parents, field.name))])

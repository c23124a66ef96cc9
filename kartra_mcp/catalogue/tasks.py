"""Compare an intent with the tasks that Kartra cannot do, or only by a raw request. Pure."""

from __future__ import annotations

import re

from kartra_mcp.catalogue.vocabulary import ROLES
from kartra_mcp.catalogue.words import Phrase, Word, parse_intent
from kartra_mcp.kartra.impossible import IMPOSSIBLE, MANY, RAW_TASKS, Impossible, RawTask, Task


def find_impossible(intent: str, known: frozenset[str] = frozenset()) -> Impossible | None:
    """Return the first impossible task that the intent fits."""
    return next((row for row in IMPOSSIBLE if _fits(row.task, intent, known)), None)


def find_raw_task(intent: str, known: frozenset[str] = frozenset()) -> RawTask | None:
    """Return the first task of a raw request that the intent fits."""
    return next((row for row in RAW_TASKS if _fits(row.task, intent, known)), None)


def concerns_many(intent: str) -> bool:
    """Return whether an intent is about a bulk run, or about many leads or sales at once."""
    return re.search(MANY, " ".join(intent.lower().split())) is not None


def _fits(task: Task, intent: str, known: frozenset[str]) -> bool:
    phrase = parse_intent(intent, known)
    text = " ".join(intent.lower().split())
    if task.verbs and not _has_verb(phrase, task.verbs):
        return False
    if task.pattern and not re.search(task.pattern, text):
        return False
    if task.nouns and not _has_object(phrase, frozenset(task.nouns.split())):
        return False
    return task.person is None or task.person is any(map(_is_role, phrase.words))


def _has_verb(phrase: Phrase, verbs: str) -> bool:
    """Return True if one of `verbs` is a most likely meaning of the intent's first verb."""
    if not phrase.verbs:
        return False
    first = phrase.verbs[0].verbs
    most = max(first.values())
    return any(first.get(verb) == most for verb in verbs.split())


def _has_object(phrase: Phrase, nouns: frozenset[str]) -> bool:
    """Return whether every object of the intent can mean one of `nouns`."""
    known = [word for word in phrase.words if 1 in word.nouns.values()]
    known = known or [word for word in phrase.words if word.nouns]
    objects = [word for word in known if not _is_role(word)] or known
    return bool(objects) and all(_clear(word) & nouns for word in objects)


def _clear(word: Word) -> frozenset[str]:
    clear = frozenset(noun for noun, weight in word.nouns.items() if weight == 1)
    return clear or frozenset(word.nouns)


def _is_role(word: Word) -> bool:
    return bool(_clear(word) & ROLES)

"""Rank tools for an intent in plain language: by words, deterministic."""

from __future__ import annotations

import heapq
import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache

from kartra_mcp.catalogue.catalogue import ActionTool

IN_NAME = 3.0
IN_DESCRIPTION = 1.0
MAX_TEXT_CHARS = 1_000

_PHRASES: tuple[tuple[str, str], ...] = (
    (r"\b(?:money|pay\w*|paid|cash) back\b", "refund"),
    (r"\b(?:take|takes|taking|took)((?: \S+){0,4}?) (?:away|off)\b", r"remove\1"),
    (r"\bopt(?:s|ed|ing)?((?: \S+){0,3}?) out\b", r"unsubscribe\1"),
    (r"\bsign(?:s|ed|ing)?((?: \S+){0,3}?) up\b", r"subscribe\1"),
    (r"\blook(?:s|ed|ing)?((?: \S+){0,3}?) up\b", r"show\1"),
    (r"\bun(tag|label|enrol|grant)", r"remove \1"),
    (r"\bhow much\b", "amount"),
    (r"\blist (?=all\b|every\b|my\b|our\b|the\b)|^\s*list\b", "show "),
    (r"\bcustom(?:er)? fields?\b", "customfield"),
)
"""Patterns of words that mean one word only together, and that word; applied in this order."""

_CONCEPTS: Mapping[str, str] = {
    "refund": "refund reimburse return",
    "cancel": "cancel stop end terminate quit",
    "subscription": "subscription recurring plan rebill installment monthly yearly billing",
    "tag": "tag label mark",
    "lead": "lead contact customer person people subscriber client buyer someone member user",
    "list": "list newsletter mailinglist audience",
    "sequence": "sequence automation drip campaign autoresponder followup series",
    "membership": "membership course access enroll portal training lesson",
    "transaction": (
        "transaction payment order purchase sale charge receipt invoice buy bought paid pay spend "
        "spent"
    ),
    "add": "add assign give grant subscribe put enroll apply attach start join allow let",
    "remove": (
        "remove unassign revoke unsubscribe delete detach drop stop end withdraw block cancel lose"
    ),
    "create": "create new register make add",
    "edit": "edit update change correct rename fix modify set",
    "show": "show get retrieve find see view read fetch display look what which check know",
    "detail": "detail info information profile about amount",
    "page": "page website landing",
    "field": "customfield field attribute property",
}
"""Concepts and the words for them. A word may have several concepts; the best one counts."""

_STOP = frozenset(
    """
    a an the to of for from this that these those my our your his her its their in on with and or
    is are was be i we you me us want need please kartra account all every specific comprehensive
    do does did can could would should have has at by it out up existing
    """.split()  # noqa: SIM905  shorter to read than a list of quoted names
)

_SUFFIXES = ("ations", "ation", "ments", "ment", "ings", "ing", "ies", "ied", "ed", "es", "s")
_MIN_STEM = 3

Concepts = frozenset[str]


@dataclass(frozen=True, slots=True)
class Index:
    """Concepts of every tool, computed once for many searches.

    `places` maps a concept to the numbers of the tools that have it.
    """

    known: tuple[tuple[ActionTool, Concepts, Concepts], ...]
    weights: Mapping[str, float]
    places: Mapping[str, tuple[int, ...]]

    @classmethod
    def build(cls, entries: Iterable[ActionTool]) -> Index:
        known = tuple((entry, *_entry_concepts(entry)) for entry in entries)
        places: dict[str, list[int]] = {}
        for number, (_, named, described) in enumerate(known):
            for meaning in named | described:
                places.setdefault(meaning, []).append(number)
        return cls(known, _compute_weights(known), {m: tuple(found) for m, found in places.items()})

    def search(self, intent: str, limit: int = 10) -> list[ActionTool]:
        """Return at most `limit` tools that match the intent, best first; none if no word matches.

        Only tools that share a concept with it are examined.
        """
        wanted = sorted(_concepts_by_word(intent), key=sorted)
        meanings = frozenset[str]().union(*wanted)
        near = sorted({n for meaning in meanings for n in self.places.get(meaning, ())})
        scored = [self._score(number, wanted) for number in near]
        best = heapq.nsmallest(max(limit, 0), (s for s in scored if s[0] < 0))
        return [self.known[number][0] for *_, number in best]

    def _score(self, number: int, wanted: list[Concepts]) -> tuple[float, int, str, int]:
        entry, named, described = self.known[number]
        score = sum(_best_weight(word, named, described, self.weights) for word in wanted)
        return -round(score, 6), len(named.difference(*wanted)), entry.tool, number


def _best_weight(
    word: Concepts, named: Concepts, described: Concepts, weights: Mapping[str, float]
) -> float:
    """Return the weight of the best concept of one word in a tool."""
    in_name = max((weights[m] for m in word & named), default=0.0) * IN_NAME
    in_description = max((weights[m] for m in word & described), default=0.0) * IN_DESCRIPTION
    return max(in_name, in_description)


def _compute_weights(known: Iterable[tuple[ActionTool, Concepts, Concepts]]) -> Mapping[str, float]:
    """Weigh concepts: the fewer tools have one, the more it counts."""
    counted: Counter[str] = Counter()
    number = 0
    for _, named, described in known:
        counted.update(named | described)
        number += 1
    return {meaning: math.log(1 + number / count) for meaning, count in counted.items()}


def _entry_concepts(entry: ActionTool) -> tuple[Concepts, Concepts]:
    """Return the concepts of key and name, and those of the description."""
    action = entry.action
    named = _flatten_concepts(action.key or entry.tool) | _flatten_concepts(action.name)
    return named, _flatten_concepts(action.description)


@lru_cache(maxsize=32_768)
def _flatten_concepts(text: str) -> Concepts:
    return frozenset[str]().union(*_concepts_by_word(text))


def _concepts_by_word(text: str) -> frozenset[Concepts]:
    """Return every word of a text as its possible concepts."""
    spaced = re.sub(r"([a-z0-9])([A-Z])", r"\1 \2", text[:MAX_TEXT_CHARS])
    spaced = re.sub(r"[-_]+", " ", spaced.lower().replace("e-mail", "email"))
    for pattern, instead in _PHRASES:
        spaced = re.sub(pattern, instead, spaced)
    words = [word for word in re.findall(r"\w+", spaced) if word not in _STOP]
    return frozenset(
        _CONCEPTS_BY_STEM.get(stem, frozenset({stem})) for stem in map(_stem_word, words)
    )


def _stem_word(word: str) -> str:
    """Stem a word by its ending: `cancelled`, `cancels`, `cancellation` are cancel.

    Never perfect.
    """
    for suffix in _SUFFIXES:
        if word.endswith(suffix) and not word.endswith("ss"):
            shorter = word[: -len(suffix)]
            if len(shorter) >= _MIN_STEM:
                return _strip_doubled(shorter + ("y" if suffix in {"ies", "ied"} else ""))
    return _strip_doubled(word)


def _strip_doubled(word: str) -> str:
    """Strip a final e or doubled consonant: `tagg`, of tagged, is `tag`."""
    word = word[:-1] if word.endswith("e") and len(word) > _MIN_STEM else word
    doubled = len(word) > _MIN_STEM and word[-1] == word[-2] and word[-1] not in "aeious"
    return word[:-1] if doubled else word


def _concepts_by_stem() -> Mapping[str, Concepts]:
    meanings: dict[str, Concepts] = {}
    for meaning, words in _CONCEPTS.items():
        for word in words.split():
            stem = _stem_word(word)
            meanings[stem] = meanings.get(stem, frozenset()) | {meaning}
    return meanings


_CONCEPTS_BY_STEM = _concepts_by_stem()
"""Every stem of the table and its concepts."""

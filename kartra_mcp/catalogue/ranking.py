"""Rank tools for an intent in plain language: by words and their meanings, deterministic.

The score has three parts: how much of the intent a tool covers, how much of the tool's name the
intent covers, and how well the verbs fit. A tool whose verb is the opposite is never returned.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from kartra_mcp.catalogue.catalogue import ActionTool
from kartra_mcp.catalogue.vocabulary import ROLES
from kartra_mcp.catalogue.words import (
    ACROSS,
    OPPOSITE,
    Meanings,
    Phrase,
    Word,
    compare_verbs,
    parse_intent,
    parse_text,
)

IN_DESCRIPTION, MEANT_IN_DESCRIPTION = 0.7, 0.5
MEANT = 0.85
"""Weight of a synonym, relative to the word itself."""
ROLE = 0.3
AMONG_WORDS = 0.5
"""Weight of a verb that does not begin its clause."""
NAME_COVERED, VERB_FITS = 0.4, 0.45
KNOWN_COMMAND = 0.04
CONFIDENT = 0.55
LEAST_OF_BEST = 0.2
"""Part of the best score below which a hit is noise."""

Found = Mapping[int, float]


@dataclass(frozen=True, slots=True)
class Entry:
    """A tool with the words and verbs of its key, name and description."""

    tool: ActionTool
    names: tuple[Phrase, ...]
    described: Phrase

    @classmethod
    def of(cls, tool: ActionTool) -> Entry:
        texts = dict.fromkeys(tool.search_names)
        return cls(tool, tuple(map(parse_text, texts)), parse_text(tool.action.description))

    def iter_words(self) -> Iterable[Word]:
        for phrase in (*self.names, self.described):
            yield from phrase.words
            yield from phrase.verbs

    def iter_places(self) -> Iterable[tuple[str, float]]:
        """Yield every stem and meaning with its weight."""
        for name in self.names:
            for word in (*name.words, *name.verbs):
                yield from _places_of(word)
        for word in (*self.described.words, *self.described.verbs):
            for place, weight in _places_of(word):
                literal = place.startswith("=")
                yield place, weight * (IN_DESCRIPTION if literal else MEANT_IN_DESCRIPTION)


@dataclass(frozen=True, slots=True)
class Hit:
    """A tool with its score; `covers` is the part of the intent that it covers, at most 1."""

    tool: ActionTool
    score: float
    covers: float
    verb: float

    @property
    def confident(self) -> bool:
        """Return whether the tool does what was meant, as far as words show."""
        return self.covers >= CONFIDENT and self.verb > 0


@dataclass(frozen=True, slots=True)
class Index:
    """Words of every tool, computed once for many searches.

    `places` maps a stem or a meaning to the numbers of the tools that have it, with its weight.
    """

    known: tuple[Entry, ...]
    places: Mapping[str, Mapping[int, float]]
    stems: frozenset[str]

    @classmethod
    def build(cls, entries: Iterable[ActionTool]) -> Index:
        known = tuple(map(Entry.of, entries))
        places: dict[str, dict[int, float]] = {}
        stems: set[str] = set()
        for number, entry in enumerate(known):
            for place, weight in entry.iter_places():
                found = places.setdefault(place, {})
                found[number] = max(found.get(number, 0.0), weight)
            stems.update(word.stem for word in entry.iter_words())
        return cls(known, places, frozenset(stems))

    def search(self, intent: str, limit: int = 10) -> list[ActionTool]:
        """Return at most `limit` tools that match the intent, best first; none without a match."""
        return [hit.tool for hit in self.find(intent, limit)]

    def find(self, intent: str, limit: int = 10) -> list[Hit]:
        """Return at most `limit` hits, best first.

        Only tools that share a meaning with the intent are examined.
        """
        wanted = parse_intent(intent, self.stems)
        words = [(word, self._find_places(word)) for word in wanted.words]
        if not words:
            words = [(word, self._find_places(word)) for word in wanted.verbs]
        weights = self._weigh(words)
        near = sorted({number for _, found in words for number in found})
        hits = (self._score(number, wanted, words, weights) for number in near)
        found = (hit for hit in hits if hit.score > 0)
        best = heapq.nsmallest(max(limit, 0), found, lambda hit: (-hit.score, hit.tool.tool))
        return [hit for hit in best if hit.score >= LEAST_OF_BEST * best[0].score]

    def _find_places(self, word: Word) -> Found:
        """Return the tools that have the word or one that means the same, each with its weight."""
        found: dict[int, float] = {}
        for place, weight in _places_of(word):
            for number, other in self.places.get(place, {}).items():
                found[number] = max(found.get(number, 0.0), weight * other)
        return found

    def _weigh(self, words: list[tuple[Word, Found]]) -> list[float]:
        """Weigh the words of an intent: the fewer tools have one, the more it counts."""
        number = len(self.known)
        alone = not any(word.nouns and not _is_role(word) for word, _ in words)
        return [
            math.log(1 + (number + 1) / (1 + sum(found.values())))
            * (ROLE if _is_role(word) and not alone else 1.0)
            * (AMONG_WORDS if word.verbs and not word.nouns else 1.0)
            for word, found in words
        ]

    def _score(
        self, number: int, wanted: Phrase, words: list[tuple[Word, Found]], weights: list[float]
    ) -> Hit:
        entry = self.known[number]
        verb = _fit_verbs(wanted, entry)
        total = sum(weights) or 1.0
        covers = (
            sum(w * found.get(number, 0.0) for w, (_, found) in zip(weights, words, strict=True))
            / total
        )
        named = max((_cover_name(name, wanted) for name in entry.names), default=0.0)
        score = covers + NAME_COVERED * named + VERB_FITS * verb
        score += KNOWN_COMMAND if entry.tool.command else 0.0
        wrong = covers == 0 or verb <= (ACROSS if wanted.reads else OPPOSITE)
        return Hit(entry.tool, 0.0 if wrong else round(score, 6), covers, verb)


def _fit_verbs(wanted: Phrase, entry: Entry) -> float:
    """Return the best fit of a verb of the intent and one that leads the key or name."""
    fits = [
        compare_verbs(verb.verbs, name.verbs[0].verbs)
        for verb in wanted.verbs
        for name in entry.names
        if name.verbs
    ]
    return max(fits, default=0.0)


def _cover_name(name: Phrase, wanted: Phrase) -> float:
    """Return how much of a name the intent covers."""
    total = covered = 0.0
    for word in name.words:
        weight = ROLE if _is_role(word) and len(name.words) > 1 else 1.0
        total += weight
        covered += weight * max((_compare(word, w) for w in wanted.words), default=0.0)
    return covered / total if total else 0.0


def _compare(word: Word, other: Word) -> float:
    if word.stem == other.stem:
        return 1.0
    shared = word.nouns.keys() & other.nouns.keys()
    return max((MEANT * word.nouns[m] * other.nouns[m] for m in shared), default=0.0)


def _places_of(word: Word) -> Iterable[tuple[str, float]]:
    """Yield the stem and each meaning with its weight."""
    yield f"={word.stem}", 1.0
    for meaning, weight in word.nouns.items():
        yield meaning, weight * MEANT**0.5


def _is_role(word: Word) -> bool:
    best: Meanings = word.nouns
    return bool(best) and all(m in ROLES or w < 1 for m, w in best.items()) and "lead" in best

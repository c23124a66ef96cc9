"""Words of an intent or a name: stems, meanings, the verb of each clause, typos. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache, lru_cache

from kartra_mcp.catalogue.vocabulary import (
    COMPOUNDS,
    INTENT_PHRASES,
    IRREGULAR,
    NEAR,
    NOUNS,
    OPPOSITES,
    STOP,
    VERBS,
    WEAK_VERBS,
    Direction,
)

MAX_TEXT_CHARS = 1_000
MAX_WORDS = 40
WEAK_MEANING = 0.6
SAME, CLOSE, ALIKE, UNRELATED, ACROSS, OPPOSITE = 1.0, 0.6, 0.15, -0.1, -0.5, -1.0
MIN_TYPO_CHARS, MIN_DISTANT_TYPO_CHARS = 5, 7
"""Least lengths of a word for a correction other than swapped letters, and for two typos."""

_SUFFIXES = ("ations", "ation", "ments", "ment", "ings", "ing", "ies", "ied", "ed", "es", "s")
_MIN_STEM = 3
_ROOTS = frozenset(IRREGULAR.values())
_QUESTION = re.compile(
    r"^\W*(?:what|which|who|when|where|whose|does|did|is|are|was|were|has|have|do (?!not|n))\b"
)
_CLAUSES = re.compile(r"(?:\b(?:and then|and also|and|then|but|or)\b|[,;.!?]+\s)")

Meanings = Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Word:
    """A word by its stem; `nouns` and `verbs` are its possible meanings, at most 1 each."""

    stem: str
    nouns: Meanings
    verbs: Meanings


@dataclass(frozen=True, slots=True)
class Phrase:
    """The content words of a text, and the verbs that lead its clauses."""

    words: tuple[Word, ...]
    verbs: tuple[Word, ...]

    @property
    def reads(self) -> bool:
        """Return whether every verb is a reading one, and one is clear."""
        meant = [pair for verb in self.verbs for pair in verb.verbs.items()]
        reading = all(VERBS[verb][0] is Direction.READ for verb, _ in meant)
        return reading and any(weight == 1 for _, weight in meant)


@lru_cache(maxsize=32_768)
def parse_text(text: str) -> Phrase:
    """Parse a name or a description."""
    return _parse(_replace(_split_names(text), COMPOUNDS), frozenset())


def parse_intent(text: str, known: frozenset[str] = frozenset()) -> Phrase:
    """Parse an intent. Typos are corrected to the `known` stems and those of the tables."""
    return _parse(_replace(_split_names(text), (*INTENT_PHRASES, *COMPOUNDS)), known or _STOPS)


def find_verb(word: str) -> Meanings:
    """Return the clear meanings of a verb, its typos corrected; none if it is not a known verb."""
    stem = _correct_typo(stem_word(word), len(word), _STOPS)
    return {verb: 1.0 for verb, weight in _verb_meanings().get(stem, {}).items() if weight == 1}


def _parse(plain: str, known: frozenset[str]) -> Phrase:
    words: dict[str, Word] = {}
    verbs: list[Word] = []
    number = 0
    for clause in _CLAUSES.split(plain):
        parsed = [_make_word(stem) for stem in _iter_stems(clause, known)]
        number += len(parsed)
        verb = _SHOW if _QUESTION.match(clause) else _find_verb(parsed)
        if verb and verb.verbs not in [v.verbs for v in verbs]:
            verbs.append(verb)
        for word in parsed:
            if word is not verb or word.nouns or len(parsed) == 1:
                words.setdefault(word.stem, word)
    if number == 1 and words.keys() & _weak_stems():
        verbs.clear()
    if not verbs and words:
        verbs.append(_IMPLIED)
    return Phrase(tuple(words.values())[:MAX_WORDS], tuple(verbs[:MAX_WORDS]))


def _split_names(text: str) -> str:
    """Return a text in lower case, with `camelCase` and `snake_case` split into words."""
    spaced = re.sub(r"([a-z0-9])([A-Z])", r"\1 \2", text[:MAX_TEXT_CHARS])
    return re.sub(r"[-_/]+", " ", spaced.lower().replace("e-mail", "email").replace("\u2019", "'"))


def _replace(text: str, table: tuple[tuple[str, str], ...]) -> str:
    for pattern, instead in table:
        text = re.sub(pattern, instead, text)
    return text


def stem_word(word: str) -> str:
    """Stem a word by its ending: `cancelled`, `cancels`, `cancellation` are cancel.

    The rules are approximate.
    """
    if word in IRREGULAR:
        return _strip_doubled(IRREGULAR[word])
    if word in _ROOTS:
        return _strip_doubled(word)
    for suffix in _SUFFIXES:
        if word.endswith(suffix) and not word.endswith("ss"):
            shorter = word[: -len(suffix)]
            if len(shorter) >= _MIN_STEM:
                return _strip_doubled(shorter + ("y" if suffix in {"ies", "ied"} else ""))
    return _strip_doubled(word)


def compare_verbs(wanted: Meanings, found: Meanings) -> float:
    """Return how well a verb fits another: from 1, the same, to -1, its opposite.

    A weak meaning can make two verbs alike, never opposite.
    """
    close = far = 0.0
    clear: list[float] = []
    for verb, weight in wanted.items():
        for other, other_weight in found.items():
            relation, both = _relation(verb, other), weight * other_weight
            if relation >= CLOSE:
                close = max(close, relation * both)
            elif both == 1:
                clear.append(relation)
            elif relation != OPPOSITE:
                far = min(far, relation * both)
    return close or max(clear, default=far)


@cache
def _relation(verb: str, other: str) -> float:
    if verb == other:
        return SAME
    relation = _relations().get((verb, other))
    if relation is not None:
        return relation
    one, two = VERBS[verb][0], VERBS[other][0]
    if one is two:
        return ALIKE
    return ACROSS if Direction.READ in (one, two) else UNRELATED


@cache
def _relations() -> Mapping[tuple[str, str], float]:
    found: dict[tuple[str, str], float] = {}
    for left, right in OPPOSITES:
        for one in left.split():
            for other in right.split():
                found[one, other] = found[other, one] = OPPOSITE
    for one, others in NEAR:
        for other in others.split():
            found[one, other] = found[other, one] = CLOSE
    return found


@lru_cache(maxsize=32_768)
def _make_word(stem: str) -> Word:
    return Word(stem, _noun_meanings().get(stem, {}), _verb_meanings().get(stem, {}))


_SHOW = Word("what", {}, {"show": 1.0})
_IMPLIED = Word("", {}, {"show": 0.3})
"""Verb of a text that has none: the text names the thing to look up."""


def _find_verb(parsed: list[Word]) -> Word | None:
    """Return the verb of a clause: its first word, else its first clear verb, else any verb."""
    if parsed and parsed[0].verbs:
        return parsed[0]
    clear = (w for w in parsed if w.verbs and w.stem not in _weak_stems())
    return next(clear, None) or next((w for w in parsed if w.verbs), None)


def _iter_stems(clause: str, known: frozenset[str]) -> Iterable[str]:
    for word in re.findall(r"[^\W_]+", clause):
        if word in STOP:
            continue
        stem = stem_word(word)
        if known and stem not in known and word.isascii() and word.isalpha():
            stem = _correct_typo(stem, len(word), known)
        yield stem


def _correct_typo(stem: str, length: int, known: frozenset[str]) -> str:
    """Return the known stem that was probably meant, or the stem itself."""
    tables = table_stems()
    if length < _MIN_STEM or stem in tables:
        return stem
    most = 2 if length >= MIN_DISTANT_TYPO_CHARS else 1
    best = (most + 1, True, stem)
    for other in tables | known:
        near = abs(len(other) - len(stem)) <= most and len(other) >= _MIN_STEM
        if near and (other[0] == stem[0] or other[:2] == stem[1::-1]):
            distance = edit_distance(stem, other, most)
            swapped = length >= MIN_TYPO_CHARS or sorted(stem) == sorted(other)
            if distance <= most and swapped:
                best = min(best, (distance, other not in tables, other))
    return best[2]


def edit_distance(one: str, other: str, most: int) -> int:
    """Return the number of insertions, deletions, changes and swaps of neighbors.

    Above `most`, the result is any larger number.
    """
    before: list[int] = []
    row = list(range(len(other) + 1))
    for i, a in enumerate(one, 1):
        older, before, row = before, row, [i]
        for j, b in enumerate(other, 1):
            cost = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (a != b))
            if i > 1 and j > 1 and a == other[j - 2] and b == one[i - 2]:
                cost = min(cost, older[j - 2] + 1)
            row.append(cost)
        if min(row) > most:
            return most + 1
    return row[-1]


@cache
def table_stems() -> frozenset[str]:
    """Return the stems of every word that a table contains."""
    stops = frozenset(stem_word(word) for word in STOP)
    return frozenset(_noun_meanings()) | frozenset(_verb_meanings()) | stops


@cache
def _noun_meanings() -> Mapping[str, Meanings]:
    return _by_stem(NOUNS)


@cache
def _verb_meanings() -> Mapping[str, Meanings]:
    return _by_stem({verb: words for verb, (_, words) in VERBS.items()})


@cache
def _weak_stems() -> frozenset[str]:
    return frozenset(stem_word(word) for word in WEAK_VERBS)


def _by_stem(table: Mapping[str, str]) -> Mapping[str, Meanings]:
    meanings: dict[str, dict[str, float]] = {}
    for meaning, words in table.items():
        for word in words.split():
            weight = WEAK_MEANING if word.endswith("~") else 1.0
            of_stem = meanings.setdefault(stem_word(word.rstrip("~")), {})
            of_stem[meaning] = max(weight, of_stem.get(meaning, 0.0))
    return meanings


_STOPS = frozenset({"the"})
"""Known words of an empty index: typos are still corrected to the words of the tables."""


def _strip_doubled(word: str) -> str:
    """Strip a final e or doubled consonant: `tagg`, of tagged, is `tag`."""
    word = word[:-1] if word.endswith("e") and len(word) > _MIN_STEM else word
    doubled = len(word) > _MIN_STEM and word[-1] == word[-2] and word[-1] not in "aeious"
    return word[:-1] if doubled else word

"""Search of actions by intent: recall against BM25 with stems, and the time of one search."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from benchmarks.intents import load_intents, make_actions
from benchmarks.stats import Row, repeated
from kartra_mcp.catalogue.builder import build_catalogue
from kartra_mcp.catalogue.ranking import Index

TITLE = "Search of actions"
ABOUT = (
    "Intents in plain words, written for this case, over the published 20 actions and made-up ones "
    "of other services around them. Recall is the part of the intents, in percent, whose action is "
    "among the first 1, 5 or 10 hits. The comparison is BM25 over key, name and description, with "
    "stems and without stop words. Three made-up lists of each size; the median is shown."
)
COUNTS = (20, 200, 600, 1_000)
DEPTHS = (1, 5, 10)
SEEDS = (1, 2, 3)
LEAST: dict[int, float] = {1: 70, 5: 90, 10: 95}
"""Percent that are promised at each depth, at every size."""
TIMES = 20

Search = Callable[[str], Sequence[str]]


def run() -> list[Row]:
    return [row for count in COUNTS for row in _measure(count)]


def _measure(count: int) -> list[Row]:
    intents = load_intents()
    lists = [make_actions(count, seed) for seed in SEEDS]
    ours = [_recalls(_our_search(actions), intents) for actions in lists]
    theirs = [_recalls(BM25(actions).search, intents) for actions in lists]
    rows: list[Row] = []
    for at, depth in enumerate(DEPTHS):
        what = f"{count:,} actions, recall at {depth}"
        mine, others = (tuple(found[at] for found in of) for of in (ours, theirs))
        rows += [
            Row(what, mine, "", at_least=max(LEAST[depth], *others)),
            Row(f"{what}, BM25", others, ""),
        ]
    find = Index.build(build_catalogue(lists[0]).entries.values()).search
    seconds = repeated(lambda: find("stop billing a client every month"), TIMES)
    return [*rows, Row(f"{count:,} actions, one search", seconds, "ms")]


def _recalls(search: Search, intents: Sequence[tuple[str, str]]) -> tuple[float, ...]:
    found = [(list(search(intent)), key) for intent, key in intents]
    return tuple(
        100 * sum(key in hits[:depth] for hits, key in found) / len(found) for depth in DEPTHS
    )


def _our_search(actions: Sequence[Any]) -> Search:
    index = Index.build(build_catalogue(actions).entries.values())
    return lambda intent: [entry.action.key for entry in index.search(intent)]


class BM25:
    """Okapi BM25 with the usual parameters."""

    K1, B = 1.2, 0.75

    def __init__(self, actions: Sequence[Any]) -> None:
        texts = [" ".join(a[name] for name in ("key", "name", "description")) for a in actions]
        self.keys = [action["key"] for action in actions]
        self.counts = [Counter(_stems(text)) for text in texts]
        self.frequency = Counter(stem for count in self.counts for stem in count)
        self.average = sum(count.total() for count in self.counts) / len(self.counts)

    def search(self, intent: str) -> list[str]:
        wanted = set(_stems(intent))
        scored = [(-self._score(c, wanted), k) for k, c in zip(self.keys, self.counts, strict=True)]
        return [key for score, key in sorted(scored) if score < 0]

    def _score(self, count: Counter[str], wanted: set[str]) -> float:
        long = self.K1 * (1 - self.B + self.B * count.total() / self.average)
        score = 0.0
        for stem in wanted & count.keys():
            n = self.frequency[stem]
            weight = math.log(1 + (len(self.counts) - n + 0.5) / (n + 0.5))
            score += weight * count[stem] * (self.K1 + 1) / (count[stem] + long)
        return score


_STOP = frozenset(
    """
    a an the to of for from this that these those my our your his her its their in on with and or
    is are was be i we you me it by at do does
    """.split()  # noqa: SIM905  shorter to read than a list of quoted names
)
_ENDINGS = (
    *("ational", "ations", "ation", "ements", "ement", "ments", "ment", "ings", "ing", "ies"),
    *("ied", "ed", "es", "s", "e"),
)
_MIN_STEM = 3


def _stems(text: str) -> list[str]:
    """Return the stems of a text: Porter's most frequent steps."""
    return [_stem(w) for w in re.findall(r"[a-z0-9]+", text.lower()) if w not in _STOP]


def _stem(word: str) -> str:
    for ending in _ENDINGS:
        short = word[: -len(ending)]
        if word.endswith(ending) and len(short) >= _MIN_STEM and not word.endswith("ss"):
            word = short + ("y" if ending in {"ies", "ied"} else "")
            break
    doubled = len(word) > _MIN_STEM and word[-1] == word[-2] and word[-1] not in "aeiousl"
    return word[:-1] if doubled else word

"""Inputs of a fuzzer: seeds with mutations, and words of the format in any order."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from hypothesis import strategies as st

MAX_BYTES = 128 * 1024
"""Largest input; more than the values of a message that are counted before it is parsed."""
_MOST_CHANGES, _MOST_WORDS, _LONGEST_PIECE = 5, 24, 40
_REPEATS = (2, 3, 40, 1_200, 8_000)

Change = Callable[[bytes, bytes, bytes], bytes]
"""Makes the new piece of an old piece, a word of the format, and a piece of another seed."""

_CHANGES: tuple[Change, ...] = (
    lambda _old, _word, _other: b"",
    lambda _old, word, _other: word,
    lambda old, word, _other: old + word,
    lambda old, _word, _other: old + old,
    lambda _old, _word, other: other,
    lambda old, _word, _other: old.swapcase(),
)


@st.composite
def _mutated(draw: st.DrawFn, seeds: Sequence[bytes], words: st.SearchStrategy[bytes]) -> bytes:
    raw = draw(st.sampled_from(seeds))
    for _ in range(draw(st.integers(0, _MOST_CHANGES))):
        at = draw(st.integers(0, len(raw)))
        end = at + draw(st.integers(0, _LONGEST_PIECE))
        other = draw(st.sampled_from(seeds))
        start = draw(st.integers(0, len(other)))
        change = draw(st.sampled_from(_CHANGES))
        piece = other[start : start + _LONGEST_PIECE]
        raw = raw[:at] + change(raw[at:end], draw(words), piece) + raw[end:]
    return raw[:MAX_BYTES]


@st.composite
def _repeated(draw: st.DrawFn, seeds: Sequence[bytes], words: st.SearchStrategy[bytes]) -> bytes:
    """A word many times in the place of a piece: nesting, long lines, many fields."""
    raw = draw(st.sampled_from([b"", *seeds]))
    at = draw(st.integers(0, len(raw)))
    end = at + draw(st.integers(0, _LONGEST_PIECE))
    word = draw(words) + draw(words)
    return (raw[:at] + word * draw(st.sampled_from(_REPEATS)) + raw[end:])[:MAX_BYTES]


def make_inputs(
    seeds: Sequence[bytes],
    words: Sequence[bytes],
    values: st.SearchStrategy[bytes] | None = None,
) -> st.SearchStrategy[bytes]:
    """Return the inputs of a target.

    Args:
        seeds: inputs that are changed.
        words: pieces of the format.
        values: inputs by a grammar.
    """
    word = st.sampled_from(words) | st.binary(min_size=1, max_size=3)
    joined = st.lists(st.sampled_from(words), max_size=_MOST_WORDS).map(b"".join)
    mutated = _mutated(seeds, word)
    more = () if values is None else (values,)
    return st.one_of(mutated, mutated, joined, _repeated(seeds, word), *more)

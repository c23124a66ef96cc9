"""Mutated requests: llhttp accepts none that h11 refuses, and reads none in another way."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from examples import examples
from http_readers import MemoryServer, check
from hypothesis import given, settings
from hypothesis import strategies as st
from odd_requests import HIDDEN, MARKER, chunked, head

VALID = (
    HIDDEN,
    head(b"Content-Length: 5", b"A: b") + b"abcde",
    head(b"Connection: Upgrade", b"Upgrade: h2c", b"Content-Length: 5") + b"abcde",
    chunked(b"3\r\nabc\r\n2;a=b\r\n\r\n\r\n0\r\nHost: y\r\nA: b\r\n\r\n"),
    head(b"Content-Length: 2", line=b"PUT /%41?b=%42 HTTP/1.0") + b"\r\n",
    head(b"Expect: 100-continue", b"Transfer-Encoding: chunked") + b"1\r\na\r\n0\r\n\r\n",
    head(b"Content-Length: %d" % len(HIDDEN)) + HIDDEN,
)
WORDS = (
    *(
        b"\r\n",
        b"\r",
        b"\n",
        b"\r\n\r\n",
        b" ",
        b"\t",
        b"\x00",
        b"\x0b",
        b"\x7f",
        b"\xff",
        b":",
        b";",
    ),
    *(
        b"0",
        b"5",
        b"+",
        b"-",
        b"0x",
        b",",
        b"%",
        b"#",
        b"?",
        b"//",
        b"*",
        b"A: b\r\n",
        b"0\r\n\r\n",
    ),
    *(
        b"Content-Length: 5\r\n",
        b"Content-Length: 0\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"chunked",
    ),
    *(
        b"Connection: close\r\n",
        b"Connection: keep-alive\r\n",
        b"Connection: upgrade\r\n",
        b"HTTP/1.0",
    ),
    *(b"Upgrade: h2c\r\n", b"Host: y\r\n", b"identity", b"CONNECT ", b"HTTP/2.0", b"1.2", HIDDEN),
)
READERS = MemoryServer("h11"), MemoryServer("httptools")


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """Return one to three requests of which a few places were changed."""
    raw = b"".join(draw(st.lists(st.sampled_from(VALID), min_size=1, max_size=3)))
    for _ in range(draw(st.integers(0, 4))):
        start = draw(st.integers(0, len(raw)))
        end = draw(
            st.integers(start, min(len(raw), start + draw(st.sampled_from((0, 1, 2, 8, 60)))))
        )
        other = raw[end:][: draw(st.integers(0, 40))]  # what follows, once more
        word = draw(st.sampled_from(WORDS) | st.binary(max_size=3) | st.just(other))
        raw = raw[:start] + word + raw[end:]
    return raw


def split(raw: bytes, places: Sequence[int]) -> list[bytes]:
    cuts = sorted({0, len(raw), *(place % len(raw) for place in places)}) if raw else [0, 0]
    return [raw[start:end] for start, end in pairwise(cuts)]


@given(mutated(), st.lists(st.integers(0, 400), max_size=6))
@settings(max_examples=examples(300))
def test_no_mutated_request_is_read_in_another_way(raw: bytes, places: list[int]):
    whole = raw + MARKER
    h11, httptools = READERS
    check(h11.send(whole), httptools.send(*split(whole, places)))


@given(mutated(), st.lists(st.integers(0, 400), max_size=6))
@settings(max_examples=examples(100))
def test_segments_do_not_change_what_is_read(raw: bytes, places: list[int]):
    whole = raw + MARKER
    _, httptools = READERS
    assert httptools.send(whole) == httptools.send(*split(whole, places))

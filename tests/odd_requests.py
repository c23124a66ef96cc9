"""Odd and hostile requests as raw bytes."""

from __future__ import annotations

from collections.abc import Iterator

HIDDEN = b"GET /hidden HTTP/1.1\r\nHost: x\r\n\r\n"


def head(*lines: bytes, line: bytes = b"POST /p HTTP/1.1", host: bytes = b"Host: x\r\n") -> bytes:
    """Return a head with these header lines."""
    return line + b"\r\n" + host + b"".join(one + b"\r\n" for one in lines) + b"\r\n"


def chunked(body: bytes, *lines: bytes) -> bytes:
    return head(b"Transfer-Encoding: chunked", *lines) + body


def _lines() -> Iterator[tuple[str, bytes]]:
    targets = (
        *(
            b"http://x/p?a=b",
            b"http://x",
            b"https://y/p",
            b"HTTP://x/p",
            b"x:443",
            b"*",
            b"p",
            b"?a",
        ),
        *(
            b"//x/p",
            b"//",
            b"/a//b",
            b"/a/../b",
            b"/p#f",
            b"/#",
            b"/p?a#b?c",
            b"/p??",
            b"/%2e%2E/a",
        ),
        *(b"/%00", b"/%0d%0aX:1", b"/%ff%C3", b"/%", b"/%zz", b"/\xc3\xa4", b"/\xff", b"/a\x00b"),
        *(
            b"/a\x01b",
            b"/a\x7fb",
            b"/a\tb",
            b"/a b",
            b"/a\\b",
            b"\\x",
            b'/"<>^`{|}',
            b"/@x:1",
            b"/;a=b",
        ),
        *(b"http://a@b:c/", b"http://[::1]/p", b"http://[x/", b"javascript:x", b"/:80", b"x"),
    )
    for target in targets:
        yield f"the target {target!r}", b"GET " + target + b" HTTP/1.1"
    for version in (b"HTTP/0.9", b"HTTP/1.0", b"HTTP/1.2", b"HTTP/2.0", b"HTTP/1", b"HTTP/1.10"):
        yield f"the version {version!r}", b"GET /p " + version
    for version in (b"http/1.1", b"HTTP/1.1x", b"HTTP/ 1.1", b"RTSP/1.0", b"ICE/1.0", b"HTTP/11"):
        yield f"the version {version!r}", b"GET /p " + version
    for method in (
        b"get",
        b"Post",
        b"FOO",
        b"PRI",
        b"SOURCE",
        b"M-SEARCH",
        b"PURGE",
        b"G@T",
        b"OPTIONS",
    ):
        yield f"the method {method!r}", method + b" /p HTTP/1.1"
    yield "no target", b"GET HTTP/1.1"
    yield "an empty target", b"GET  HTTP/1.1"
    yield "no version", b"GET /p"
    yield "two spaces before the target", b"GET  /p HTTP/1.1"
    yield "two spaces before the version", b"GET /p  HTTP/1.1"
    yield "a space after the version", b"GET /p HTTP/1.1 "
    yield "a tab before the target", b"GET\t/p HTTP/1.1"
    yield "a space before the method", b" GET /p HTTP/1.1"
    yield "an empty line before the request", b"\r\nGET /p HTTP/1.1"
    yield "a bare LF before the request", b"\nGET /p HTTP/1.1"
    yield "a bare CR before the request", b"\rGET /p HTTP/1.1"
    yield "a tunnel", b"CONNECT x:443 HTTP/1.1"
    yield "a tunnel to a path", b"CONNECT /p HTTP/1.1"
    yield "the preface of HTTP/2", b"PRI * HTTP/2.0"


def _headers() -> Iterator[tuple[str, bytes]]:
    lines = (
        *(
            b"A : b",
            b" A: b",
            b"A b: c",
            b"A\t: b",
            b": b",
            b"A",
            b"A:",
            b"A: ",
            b"A:\tb\t",
            b"\xc3: b",
        ),
        *(b"A: b\r\n c", b"A: b\r\n\tc", b"A: b\r\n ", b"A: b\nX: c", b"A: b\rX: c", b"A: b\x00c"),
        *(
            b"A: b\x01c",
            b"A: b\x7fc",
            b"A: b\x0bc",
            b"A: b\x0cc",
            b"A: \xff\xc3",
            b"A: b \t ",
            b"A\x00: b",
        ),
        *(b"A: b\r\r", b"A(: b", b'"A": b', b"A:b:c", b"a_b: c", b"Host: x", b"HOST: y", b"A: b\r"),
        *(
            b"Expect: 100-continue",
            b"Expect: other",
            b"Expect: 100-continue, x",
            b"X: " + b"a" * 9_000,
        ),
        *(b"Connection: close", b"Connection: keep-alive, close"),
        *(b"Connection: x\r\nConnection: close", b"Connection: close\r\nConnection: keep-alive"),
        *(
            b"Connection: close, keep-alive",
            b"Connection: CLOSE",
            b"Connection: closed",
            b"Connection:",
        ),
        *(
            b"Connection: x,close",
            b"Connection: x, close,",
            b"Connection: ,close",
            b"Connection: clo se",
        ),
        *(b"Proxy-Connection: close", b"Keep-Alive: timeout=1", b"Connection: close x"),
        *(b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: a",),
        *(
            b"Connection: Upgrade\r\nUpgrade: h2c",
            b"Upgrade: h2c",
            b"Connection: Upgrade",
            b"Upgrade:",
        ),
    )
    for line in lines:
        yield f"the line {line[:40]!r}", line


def _lengths() -> Iterator[tuple[str, bytes]]:
    for value in (
        b"5",
        b"+5",
        b"-5",
        b" 5 ",
        b"5, 5",
        b"5,5",
        b"5, 6",
        b"0x5",
        b"5.0",
        b"5 5",
        b"",
        b"05",
    ):
        yield f"the length {value!r}", b"Content-Length: " + value
    for value in (
        b"5;a",
        b"\xb2",
        b"1_0",
        b"0" * 18 + b"5",
        b"0" * 25 + b"5",
        b"9" * 19,
        b"9" * 21,
    ):
        yield f"the length {value!r}", b"Content-Length: " + value
    for value in (b"18446744073709551621", b"5\x00", b"5\x0b", b"infinity", b"5,"):
        yield f"the length {value!r}", b"Content-Length: " + value
    same = b"Content-Length: 5\r\n"
    yield "two equal lengths", same + b"content-length: 5"
    yield "two different lengths", same + b"Content-Length: 6"
    yield "a length with a space before the colon", b"Content-Length : 5"
    yield "a folded length", b"Content-Length:\r\n 5"
    yield "a length after a bare LF", b"A: b\nContent-Length: 5"
    yield "a length after a bare CR", b"A: b\rContent-Length: 5"
    yield "a length and chunks", same + b"Transfer-Encoding: chunked"
    yield "chunks and a length", b"Transfer-Encoding: chunked\r\nContent-Length: 5"
    yield "a length and an upgrade", same + b"Connection: Upgrade\r\nUpgrade: h2c"
    yield "a length and a folded upgrade", same + b"Connection: Upgrade\r\nUpgrade: h2c\r\n x"


def _codings() -> Iterator[tuple[str, bytes]]:
    values = (
        *(
            b"chunked",
            b"Chunked",
            b"chunked, chunked",
            b"identity",
            b"xchunked",
            b"chunked\t",
            b"\tchunked",
        ),
        *(
            b"chunked ",
            b"gzip, chunked",
            b"chunked, gzip",
            b"chunked;q=1",
            b"",
            b"chunked,",
            b",chunked",
        ),
        *(
            b"\x0bchunked",
            b'"chunked"',
            b"chunkedx",
            b"chun ked",
            b"chunked\x00",
            b"identity, chunked",
        ),
    )
    for value in values:
        yield f"the coding {value!r}", b"Transfer-Encoding: " + value
    yield "two codings", b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked"
    yield "two different codings", b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity"
    yield "a coding with a space before the colon", b"Transfer-Encoding : chunked"
    yield "a folded coding", b"Transfer-Encoding:\r\n chunked"
    yield (
        "a coding and an upgrade",
        b"Transfer-Encoding: chunked\r\nConnection: Upgrade\r\nUpgrade: h2c",
    )


def _chunks() -> Iterator[tuple[str, bytes]]:
    end = b"0\r\n\r\n"
    for size in (
        b"3",
        b"03",
        b"0" * 15 + b"3",
        b"0" * 19 + b"3",
        b"0" * 30 + b"3",
        b"0x3",
        b"+3",
        b"-3",
        b" 3",
    ):
        yield f"the chunk size {size!r}", size + b"\r\nabc\r\n" + end
    for size in (
        b"3 ",
        b"3\t",
        b"3;",
        b"3;a",
        b"3;a=b",
        b'3;a="b;c"',
        b"3 ;a",
        b"3; a = b",
        b"3;a\x00",
        b"3;;",
    ):
        yield f"the chunk size {size!r}", size + b"\r\nabc\r\n" + end
    for size in (
        b"3;a\nb",
        b"3;a\rb",
        b"3\x00",
        b"",
        b"g",
        b"3,3",
        b"F" * 16,
        b"F" * 20,
        b"F" * 21,
        b'3;a="\r',
    ):
        yield f"the chunk size {size!r}", size + b"\r\nabc\r\n" + end
    yield "a bare LF after the chunk size", b"3\nabc\r\n" + end
    yield "a bare CR after the chunk size", b"3\rabc\r\n" + end
    yield "no line break after the chunk", b"3\r\nabc" + end
    yield "a bare LF after the chunk", b"3\r\nabc\n" + end
    yield "two bytes for the line break after the chunk", b"3\r\nabcxx" + end
    yield "a bare LF at the end", b"3\r\nabc\r\n0\n\n"
    yield "a bare LF after the last chunk", b"3\r\nabc\r\n0\r\n\n"
    yield "a bare CR at the end", b"3\r\nabc\r\n0\r\r"
    yield "a body with blank lines", b"c\r\na\r\n\r\n\r\nb\r\n\r\n\r\n" + end
    yield "a body with a request in it", b"%x\r\n%s\r\n" % (len(HIDDEN), HIDDEN) + end
    yield "an extension of the last chunk", b"3\r\nabc\r\n0;a=b\r\n\r\n"
    yield "zeros for the last chunk", b"3\r\nabc\r\n000\r\n\r\n"
    trailers = (
        *(
            b"Authorization: y",
            b"Host: y",
            b"Mcp-Name: y",
            b"Content-Length: 50",
            b"A : b",
            b"A",
            b"A: b\r\n c",
        ),
        *(
            b"Transfer-Encoding: chunked",
            b"Connection: close",
            b"Connection: Upgrade\r\nUpgrade: h2c",
        ),
        *(b"A: b\nC: d", b"A: \x00", b" A: b", b"Expect: 100-continue", b": b"),
    )
    for trailer in trailers:
        yield f"the trailer {trailer!r}", b"3\r\nabc\r\n0\r\n" + trailer + b"\r\n\r\n"


def _make() -> Iterator[tuple[str, bytes]]:
    for name, line in _lines():
        yield name, head(line=line)
    for name, line in _headers():
        yield name, head(line)
        yield f"{name}, with a body", head(b"Content-Length: 3", line) + b"abc"
    for name, line in _lengths():
        yield name, head(line) + b"abcde"
    for name, line in _codings():
        yield name, head(line) + b"3\r\nabc\r\n0\r\n\r\n"
    for name, body in _chunks():
        yield name, chunked(body)
    yield from _whole()


def _whole() -> Iterator[tuple[str, bytes]]:
    yield (
        "chunks in HTTP/1.0",
        head(b"Transfer-Encoding: chunked", line=b"POST /p HTTP/1.0") + b"0\r\n\r\n",
    )
    yield "a body in HTTP/1.0", head(b"Content-Length: 3", line=b"POST /p HTTP/1.0") + b"abc"
    yield (
        "an expectation in HTTP/1.0",
        head(b"Expect: 100-continue", b"Content-Length: 3", line=b"POST /p HTTP/1.0") + b"abc",
    )
    yield "HTTP/1.0 that stays", head(b"Connection: keep-alive", line=b"GET /p HTTP/1.0")
    yield "HTTP/1.0 without host", head(line=b"GET /p HTTP/1.0", host=b"")
    yield "no host", head(host=b"")
    yield "an empty host", head(host=b"Host:\r\n")
    yield "lines that end in bare LF", b"GET /p HTTP/1.1\nHost: x\n\n"
    yield "lines that end in bare CR", b"GET /p HTTP/1.1\rHost: x\r\r"
    yield "a bare LF at the end of the head", b"GET /p HTTP/1.1\r\nHost: x\r\n\n"
    yield "no headers at all", b"GET /p HTTP/1.0\r\n\r\n"
    yield "HTTP/0.9", b"GET /p\r\n"
    yield "a greeting of TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"
    yield "zero bytes", b"\x00" * 20
    yield "an unread body", head(b"Content-Length: 3", line=b"POST /unread HTTP/1.1") + b"abc"
    yield (
        "unread chunks",
        head(b"Transfer-Encoding: chunked", line=b"POST /unread HTTP/1.1")
        + b"3\r\nabc\r\n0\r\n\r\n",
    )
    yield (
        "bad chunks, unread",
        head(b"Transfer-Encoding: chunked", line=b"POST /unread HTTP/1.1")
        + b"x\r\nabc\r\n0\r\n\r\n",
    )
    yield (
        "a tunnel with a body",
        head(b"Content-Length: 3", line=b"CONNECT x:443 HTTP/1.1") + b"abc",
    )
    yield "data after the end of a connection", head(b"Connection: close") + HIDDEN
    yield (
        "a request after a body and a close",
        head(b"Connection: close", b"Content-Length: 3") + b"abc" + HIDDEN,
    )
    yield "three requests at once", HIDDEN * 3
    yield "a request, then a bad one", HIDDEN + b"G@T / HTTP/1.1\r\n\r\n"
    yield "a thousand headers", head(*(b"A%d: b" % i for i in range(1_000)))


ODD_REQUESTS = dict(_make())

LARGE_REQUESTS = {
    "a head": head(b"A: " + b"a" * 66_000),
    "a head of many lines": head(*(b"A%d: b" % i for i in range(9_000))),
    "an extension": chunked(b"3;" + b"a" * 66_000 + b"\r\nabc\r\n0\r\n\r\n"),
    "trailers": chunked(b"3\r\nabc\r\n0\r\n" + b"A: b\r\n" * 11_000 + b"\r\n"),
}
"""Each has a part above 64 KiB."""

MARKER = b"GET /marker HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
"""Request after an odd one: one more answer shows that it was read as such."""

"""Pages of the approval page, parsed, and untrusted texts to show on them."""

from __future__ import annotations

from html.parser import HTMLParser

from page_client import Visitor

HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "</dd></article><form action=//evil.example>",
    "{{ 7 * 7 }}{% raw %}",
    "' onmouseover='alert(1)",
    "javascript:alert(1)",
    "<!--",
    "&lt;b&gt;",
)
HIDDEN = "\u202e\u200b\u2066\x1b[31m\x00\ufeff"
VOID = frozenset({"meta", "link", "input", "img", "source", "br", "wbr"})


class Parsed(HTMLParser):
    """A parsed page: its elements, and the text of each."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None], list[str]]] = []
        self._open: list[int] = []
        self.feed(html)
        assert self._open == [], "every element is closed"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs), []))
        if tag not in VOID:
            self._open.append(len(self.elements) - 1)

    def handle_endtag(self, tag: str) -> None:
        assert self.elements[self._open.pop()][0] == tag

    def handle_data(self, data: str) -> None:
        for place in self._open:
            self.elements[place][2].append(data)

    def found(self, tag: str, **wanted: str) -> list[tuple[dict[str, str | None], str]]:
        """Return the elements with these attributes, and their texts."""
        names = {name.rstrip("_").replace("_", "-"): value for name, value in wanted.items()}
        return [
            (attributes, " ".join("".join(text).split()))
            for element, attributes, text in self.elements
            if element == tag and names.items() <= attributes.items()
        ]

    def facts(self, of: str = "div") -> dict[str, str]:
        return {str(a["data-fact"]): text for a, text in self.found(of) if "data-fact" in a}

    def intents(self) -> list[str]:
        return [str(a["data-intent"]) for a, _ in self.found("tr") if "data-intent" in a]


def read(visitor: Visitor, path: str, status: int = 200) -> Parsed:
    reply = visitor.get(path)
    assert reply.status == status, reply.text
    return Parsed(reply.text)

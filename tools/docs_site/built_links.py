"""Links of a built site: each leads somewhere, and nothing is loaded from elsewhere."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

from typing_extensions import override

LOADED = {"script": "src", "link": "href", "img": "src", "iframe": "src", "source": "srcset"}
OUTSIDE = re.compile(r"""(?:url\(|@import)\s*["']?(?:https?:)?//""")


class Page(HTMLParser):
    """The ids of a page, what it links to, and what it loads."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.links: list[str] = []
        self.loads: list[str] = []
        self.feed(text)

    @override
    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        self.ids |= {found[name] for name in ("id", "name") if name in found}
        if tag == "a" and "href" in found:
            self.links.append(found["href"])
        if (name := LOADED.get(tag)) and name in found:
            self.loads.append(found[name])


def find_faults(site: Path) -> Iterator[str]:
    """Yield each link that leads nowhere, and each thing that is loaded from another host."""
    pages = {path: Page(path.read_text("utf-8")) for path in sorted(site.rglob("*.html"))}
    for path, page in pages.items():
        name = path.relative_to(site)
        for target in (*page.links, *page.loads):
            if fault := _find_fault(site, path, target, pages):
                yield f"{name}: {target}: {fault}"
        yield from (f"{name}: loads {one}" for one in page.loads if urlsplit(one).netloc)
    for path in sorted(site.rglob("*.css")):
        if OUTSIDE.search(path.read_text("utf-8")):
            yield f"{path.relative_to(site)}: loads from another host"


def _find_fault(site: Path, path: Path, target: str, pages: dict[Path, Page]) -> str:
    parts = urlsplit(target)
    if parts.scheme or parts.netloc:
        return ""
    there = (path.parent / unquote(parts.path)).resolve() if parts.path else path
    if not there.is_relative_to(site) or not there.is_file():
        return "there is no such file"
    page = pages.get(there)
    if page and parts.fragment and unquote(parts.fragment) not in page.ids:
        return "there is no such heading"
    return ""

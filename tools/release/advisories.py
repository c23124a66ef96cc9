"""Faults of dependencies that are known to us, and the versions that fixed them.

No service of advisories is asked: none can be reached from where this runs. A package without a
line here is not known to be free of faults. `docs/publishing.md` names the audit to run online.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Advisory:
    """A fault of a package, fixed in the version `fixed`; the words are empty if we have none."""

    package: str
    fixed: str
    identifier: str
    fault: str = ""


ADVISORIES = (
    Advisory("aiohttp", "3.13.4", "CVE-2026-22815, CVE-2026-34519, CVE-2026-34525"),
    Advisory("h11", "0.16.0", "CVE-2025-43859", "accepts malformed chunks: request smuggling"),
    Advisory("jinja2", "3.1.6", "CVE-2025-27516", "a template leaves the sandbox"),
    Advisory("pyjwt", "2.12.0", "CVE-2026-32597", "ignores `crit` headers"),
    Advisory("pyjwt", "2.13.0", "CVE-2026-48524", "an unknown `kid` empties the cache of keys"),
    Advisory("python-multipart", "0.0.26", "CVE-2026-40347"),
    Advisory("starlette", "1.0.1", "CVE-2026-48710", "the Host header decides `request.url`"),
    Advisory("starlette", "1.3.0", "CVE-2026-54282", "the path decides `request.url`"),
)


def find_faulty(pins: Mapping[str, str]) -> Iterator[str]:
    """Yield each pinned version that has a known fault."""
    for one in ADVISORIES:
        version = pins.get(one.package)
        if version is not None and release(version) < release(one.fixed):
            yield f"{one.package} {version}: {one.identifier}, fixed in {one.fixed}"


def release(version: str) -> tuple[int, ...]:
    """Return the numbers of a version, without zeros at the end: 1.3 is 1.3.0."""
    numbers = re.sub(r"(\.0+)+$", "", version.partition("+")[0])
    return tuple(map(int, re.findall(r"\d+", numbers)))

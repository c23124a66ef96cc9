"""Licences of all dependencies, as their packages declare them: docs/licences.md."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import Distribution, distributions
from pathlib import Path

from readme import replace_part, table

PAGE = Path(__file__).parents[2] / "docs" / "licences.md"

ALLOWED: Mapping[str, str] = {
    **dict.fromkeys(
        ("0BSD", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "ISC", "MIT", "MIT-0", "PSF-2.0"),
        "permissive",
    ),
    "MPL-2.0": "copyleft for its own files only, which we do not change",
    "LGPL-3.0-only": "copyleft for the library, which stays a package that the user can replace",
    "LGPL-3.0-or-later": "as LGPL-3.0-only",
}
"""Licences whose packages a program under the MIT licence may require, each with the reason."""

CLASSIFIERS: Mapping[str, str] = {
    "Apache Software License": "Apache-2.0",
    "GNU Lesser General Public License v3 (LGPLv3)": "LGPL-3.0-only",
    "GNU Lesser General Public License v3 or later (LGPLv3+)": "LGPL-3.0-or-later",
    "ISC License (ISCL)": "ISC",
    "MIT License": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0",
}
"""Classifiers that stand for exactly one licence; "BSD License" is none of them."""

SPELLINGS: Mapping[str, str] = {
    "apache": "Apache-2.0",
    "apache 2": "Apache-2.0",
    "apache 2.0": "Apache-2.0",
    "apache license 2.0": "Apache-2.0",
    "apache license, version 2.0": "Apache-2.0",
    "bsd-3-clause license": "BSD-3-Clause",
    "mit license": "MIT",
    "psf": "PSF-2.0",
}
READ: Mapping[str, str] = {"jinja2": "BSD-3-Clause"}
"""Packages that declare no exact licence: the one that their licence file has."""


@dataclass(frozen=True, order=True)
class Dependency:
    """One package of the closure.

    Attributes:
        name: normalized name.
        licence: SPDX expression, "" if none is known.
        needed_by: "all" or "team".
        only_on: the system that needs it, "" if all do.
    """

    name: str
    licence: str
    needed_by: str
    only_on: str = ""


def normalize(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def read_licences(folders: Iterable[Path]) -> dict[str, str]:
    """Return the licence of each package that is installed in these folders."""
    found = distributions(path=[str(folder) for folder in folders])
    return {normalize(one.name): read_licence(one) for one in found}


def read_licence(package: Distribution) -> str:
    """Return the SPDX expression that a package declares, "" if it is not exact."""
    declared = package.metadata
    for expression in declared.get_all("License-Expression") or ():
        return expression
    text = "".join(declared.get_all("License") or ()).strip()
    spelled = SPELLINGS.get(text.lower(), text)
    if spelled in ALLOWED:
        return spelled
    named = [line.rpartition(" :: ")[2] for line in declared.get_all("Classifier") or ()]
    exact = {CLASSIFIERS[name] for name in named if name in CLASSIFIERS}
    return exact.pop() if len(exact) == 1 else READ.get(normalize(package.name), "")


def is_allowed(expression: str) -> bool:
    """Return True if an SPDX expression without brackets can be met by allowed licences."""
    if not expression:
        return False
    ways = re.split(r"\s+OR\s+", expression)
    return any(all(term in ALLOWED for term in re.split(r"\s+AND\s+", way)) for way in ways)


def find_faults(dependencies: Iterable[Dependency]) -> Iterator[str]:
    """Yield each dependency whose licence is unknown or not allowed."""
    for one in dependencies:
        if not is_allowed(one.licence):
            yield f"{one.name}: the licence {one.licence or 'is not declared'} is not allowed"


def written(dependencies: Iterable[Dependency]) -> str:
    """Return the page with both tables as they are now."""
    text = PAGE.read_text("utf-8")
    allowed = table(("Licence", "Why it fits"), sorted(ALLOWED.items()))
    rows = [(one.name, one.licence, one.needed_by, one.only_on) for one in sorted(dependencies)]
    packages = table(("Package", "Licence", "Needed by", "Only on"), rows)
    return replace_part(replace_part(text, "allowed", allowed), "packages", packages)

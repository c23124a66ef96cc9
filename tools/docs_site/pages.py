"""The pages of the site: those of the repository, and references that the code generates."""

from __future__ import annotations

import io
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import redirect_stdout, suppress
from fnmatch import fnmatch
from importlib.resources import files
from pathlib import Path

from readme import actions, command_tools, default, own_tools, table

from kartra_mcp.cli import main
from kartra_mcp.core.models import Gate
from kartra_mcp.policy.gates import GATE_TEXTS
from kartra_mcp.policy.limits import CAPS
from kartra_mcp.settings import OPTIONS

ROOT = Path(__file__).parents[2]
PICTURE = re.compile(r'(?s)<picture>.*?<img src="([^"]+)" alt="([^"]*)">\s*</picture>')
LINK = re.compile(r"(\]\()(?!\w+:)([^)#\s]+)")

CONTENTS: Mapping[str, tuple[str, ...]] = {
    "Use it": (
        *("docs/setup", "docs/sandbox", "docs/guide", "docs/agency", "docs/frameworks"),
        *("docs/clients/README", "docs/clients/*"),
    ),
    "Money is safe": (
        *("docs/consent", "docs/policy", "docs/ledger", "docs/page", "docs/SECURITY"),
        *("docs/bulk", "docs/exposure", "docs/evals"),
    ),
    "Reference": (
        *("docs/reference/tools", "docs/reference/commands", "docs/settings", "docs/errors"),
        *("docs/commands", "docs/reference/policy", "docs/reference/team-file", "docs/api"),
    ),
    "Teams": ("docs/team/*",),
    "Project": (
        *("CHANGELOG", "CONTRIBUTING", "docs/performance", "docs/platforms", "docs/licences"),
        *("docs/mutants", "docs/publishing", "tests/conformance/README", "docs/decisions/*"),
    ),
}
"""Parts of the table of contents. A page that is in none is listed under "More"."""


def write_sources(folder: Path) -> int:
    """Write the sources of the site; return the number of pages. README.md becomes index.md."""
    shutil.rmtree(folder, ignore_errors=True)
    pages = {name: to_image((ROOT / name).read_text("utf-8")) for name in repository_pages()}
    for name, text in pages.items():
        for target in linked_files(name, text):
            if target not in pages:
                copy(target, folder)
    pages |= references()
    pages["README.md"] += contents(pages)
    for name, text in pages.items():
        path = folder / ("index.md" if name == "README.md" else name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(to_index(text), "utf-8", newline="\n")
    return len(pages)


def repository_pages() -> Iterator[str]:
    """Yield the pages by their paths."""
    yield from ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "tests/conformance/README.md")
    yield from (path.relative_to(ROOT).as_posix() for path in sorted(ROOT.glob("docs/**/*.md")))


def linked_files(page: str, text: str) -> Iterator[str]:
    """Yield the path of each file that a page links to or shows."""
    for _, link in LINK.findall(text):
        path = (ROOT / page).parent.joinpath(link).resolve()
        if path.is_file() and path.is_relative_to(ROOT):
            yield path.relative_to(ROOT).as_posix()


def copy(name: str, folder: Path) -> None:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(ROOT / name, folder / name)


def to_image(text: str) -> str:
    """Replace each `<picture>`, which Sphinx does not know, by the image in it."""
    return PICTURE.sub(r"![\2](\1)", text)


def to_index(text: str) -> str:
    """Let links to the README of the repository lead to the first page of the site."""
    return re.sub(r"(\]\((?:\.\./)*)README\.md(?=[)#])", r"\1index.md", text)


def contents(pages: Iterable[str]) -> str:
    """Return the table of contents, which Sphinx shows at the side."""
    listed = [name for names in CONTENTS.values() for name in names]
    names = [page.removesuffix(".md") for page in pages if page != "README.md"]
    more = [name for name in names if not any(fnmatch(name, one) for one in listed)]
    head = "\n```{toctree}\n:hidden:\n:glob:\n:caption: "
    parts = {**CONTENTS, "More": tuple(more)} if more else CONTENTS
    return "".join(
        head + caption + "\n\n" + "\n".join(names) + "\n```\n" for caption, names in parts.items()
    )


def references() -> dict[str, str]:
    """Return the generated pages that the repository does not have."""
    return {
        "docs/reference/tools.md": tools(),
        "docs/reference/commands.md": "# Command line\n\n" + "\n".join(command_pages()),
        "docs/reference/policy.md": policy_keys(),
        "docs/reference/team-file.md": team_file(),
    }


def tools() -> str:
    """Return the page of all tools."""
    return (
        f"# Tools\n\n## Built-in tools\n\n{own_tools()}\n## Actions\n\n{actions()}\n"
        f"## Command tools\n\n{command_tools()}"
    )


def team_file() -> str:
    """Return the page of the commented team file, which has every key."""
    example = files("kartra_mcp.team").joinpath("example.yaml").read_text("utf-8")
    return (
        "# Example of a team file\n\n`kartra-mcp team init` writes it. Every key is explained in "
        f"[the team file](../team/file.md).\n\n{block('yaml', example)}"
    )


def policy_keys() -> str:
    """Return the page of all keys of the policy file."""
    gates = [(f"`{gate}`", GATE_TEXTS[gate].requirement) for gate in Gate]
    settings = {option.name: option for option in OPTIONS}
    caps = [
        (f"`{info.file_key}`", settings[info.option].help, default(settings[info.option]))
        for info in CAPS.values()
    ]
    return (
        "# Keys of the policy file\n\nWhat they do together: [policy](../policy.md).\n\n"
        '`[gates]` has the keys `destructive` and `irreversible`; `[tools."NAME"]` has the key '
        f"`gate`. The values of all three:\n\n{table(('Gate', 'Requirement'), gates)}\n"
        f"`[caps]` has these keys:\n\n{table(('Key', 'Meaning', 'Default'), caps)}"
    )


def command_pages() -> Iterator[str]:
    """Yield the help of each command, and of the commands below it."""
    for command in main.COMMANDS:
        shown = help_of(command.name)
        yield f"## kartra-mcp {command.name}\n\n{block('text', shown)}"
        below = re.search(r"(?m)^usage: kartra-mcp \w+ \[-h\]\s+([\w|]+)\s+\.\.\.", shown)
        for name in below[1].split("|") if below else ():
            text = help_of(f"{command.name} {name}")
            yield f"### kartra-mcp {command.name} {name}\n\n{block('text', text)}"


def help_of(words: str) -> str:
    """Return what `--help` prints on a terminal of 96 columns."""
    os.environ["COLUMNS"] = "96"
    with redirect_stdout(io.StringIO()) as shown, suppress(SystemExit):
        main.main([*words.split(), "--help"])
    return shown.getvalue()


def block(language: str, text: str) -> str:
    return f"```{language}\n{text.rstrip()}\n```\n"

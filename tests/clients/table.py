"""docs/clients/results.json and the page generated from it, docs/clients/README.md.

`python -m clients.table` writes the page again from the stored results.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

from clients.record import ROOT, Kind, Run

FOLDER = ROOT / "docs" / "clients"
RESULTS, PAGE = "results.json", "README.md"

INTRODUCTION = """\
# Clients

Results of real clients on this server. `make clients` installs each client in its own environment
and runs the same steps on a fresh sandbox account: list all tools, read a lead, set a tag, and
request a refund without any consent. Then it writes this page. Every result comes from a run, none
from a client's documentation.

- **Revision** and **can ask** are read from the wire: the MCP revision in use, and the kinds of
  questions to the user (elicitation) that the client declared.
- **Tools**: how many of the server's tools reached the caller.
- **Read**, **write**, **refund refused**: `ok` if the answer reached the caller; if the tag was set
  once, by one program; if no money moved and the caller received the reason.
- **Sees**: the form of a success that the model gets, or the caller of an SDK. Both forms
  contain the same data; agents that show both get the text alone since then.
- **Waits**: the client's default timeout for one call, measured with an answer that is held back
  for 70 seconds. The server's own limit for a call is 50 seconds.

A client that cannot ask is refused with `confirmation_required` and a preview
(see [consent](../consent.md)).
"""
TITLES: dict[Kind, str] = {
    "agent": "Agents, from end to end",
    "framework": "Frameworks",
    "sdk": "SDKs",
    "inspector": "The official inspector",
}
HEADS = (
    "Client",
    "Version",
    "Revision",
    "Can ask",
    "Tools",
    "Read",
    "Write",
    "Refund refused",
    "Sees",
    "Waits",
)


def keep(runs: Iterable[Run], folder: Path = FOLDER) -> None:
    """Merge the runs into the stored ones, and write the page.

    A client that could not be installed this time keeps its previous result, with that date.
    """
    kept = {run.client: run for run in kept_runs(folder)}
    kept |= {run.client: run for run in runs if not run.not_run or run.client not in kept}
    every = [asdict(kept[name]) for name in sorted(kept)]
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(every, indent=2, ensure_ascii=False)
    (folder / RESULTS).write_text(text + "\n", encoding="utf-8")
    write(folder)


def kept_runs(folder: Path = FOLDER) -> list[Run]:
    """Return the stored results by name."""
    file = folder / RESULTS
    return [Run(**one) for one in json.loads(file.read_text("utf-8"))] if file.exists() else []


def write(folder: Path = FOLDER) -> None:
    (folder / PAGE).write_text(page(kept_runs(folder)), encoding="utf-8")


def page(runs: list[Run]) -> str:
    """Return the whole page."""
    parts = [INTRODUCTION, pages(), *(section(kind, runs) for kind in TITLES), absent(runs)]
    return "\n".join(part for part in parts if part)


def pages() -> str:
    """Return links to the pages on the setup of each client."""
    files = sorted(file.name for file in FOLDER.glob("*.md") if file.name != PAGE)
    links = ", ".join(f"[{name.removesuffix('.md')}]({name})" for name in files)
    return f"How to set one up: {links}.\n" if links else ""


def section(kind: Kind, runs: list[Run]) -> str:
    """Return the table of one kind, then the remarks on each client."""
    mine = [run for run in runs if run.kind == kind and not run.not_run]
    if not mine:
        return ""
    rows = [HEADS, tuple("---" for _ in HEADS), *(row(run) for run in mine)]
    table = "\n".join(f"| {' | '.join(cells)} |" for cells in rows)
    return f"## {TITLES[kind]}\n\n{table}\n\n" + "\n".join(map(remarks, mine)) + "\n"


def row(run: Run) -> tuple[str, ...]:
    steps = (run.read, run.write, run.refused)
    return (
        run.client,
        run.version,
        run.era or "none",
        run.elicitation,
        f"{run.tools} of {run.of}",
        *(cell(step) for step in steps),
        run.sees or "neither",
        run.waits or "not measured",
    )


def cell(text: str) -> str:
    """Return text that is valid in a cell; a long one is cut."""
    flat = " ".join(text.replace("|", "\\|").split())
    return flat if len(flat) <= 80 else flat[:79] + "…"


def remarks(run: Run) -> str:
    """Return the driver, the date and further observations on the wire."""
    said = [run.how, *run.notes, run.date]
    return f"- **{run.client}**: {'; '.join(said)}."


def absent(runs: list[Run]) -> str:
    """Return the clients that could not be installed, with the reason."""
    lines = [f"- **{run.client}** {run.version}: {run.not_run}." for run in runs if run.not_run]
    return "## Not run\n\n" + "\n".join(lines) + "\n" if lines else ""


if __name__ == "__main__":
    write()

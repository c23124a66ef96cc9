"""docs/clients/results.json and the page generated from it, docs/clients/README.md.

`python -m clients.table` writes the page again from the stored results.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
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
(see [consent](../consent.md)). Programs to copy: [agent frameworks](../frameworks.md).

The same steps [over HTTP](#over-http-the-service-of-a-team), at the service of a team, are below.
"""
HTTP_TITLE = "Over HTTP: the service of a team"
HTTP_INTRODUCTION = """\
Each client works on a fresh team of `kartra-mcp demo --team`: two replicas of
`kartra-mcp serve --http` behind a plain balancer, PostgreSQL, a stand-in identity provider, and the
account behind Membrane's API. A relay that keeps the wire's log passes each request to the next
replica. The client is that of Bea, who may ask for money; an agent of no user may not.

- **Access**: `token`, a bearer token that the client is given; `login`, its own login by OAuth
  (resource metadata, registration, PKCE), of which only the user's browser is a stand-in; `agent`,
  client credentials.
- **Write**: `ok` if the tag was set by one request, and the ledger has one write of it, a success.
- **Refund held**: `ok` if account and ledger have no refund, the caller received the reason, and
  one request waits for an approver. Nothing waits if the client itself stopped the call, or if an
  agent of no user got `forbidden_role`.

No client is asked here, whatever it can show: another person approves on the page. How to set one
up: [Connect a client](../team/service.md#connect-a-client).
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


HTTP_HEADS = tuple(
    {"Refund refused": "Refund held", "Waits": "Access"}.get(head, head) for head in HEADS
)


def keep(runs: Iterable[Run], folder: Path = FOLDER) -> None:
    """Merge the runs into the stored ones, and write the page.

    A client that could not be installed this time keeps its previous result, with that date.
    """
    kept = {run.client: run for run in kept_runs(folder)}
    kept |= {run.client: run for run in runs if not run.not_run or is_unknown(run.client, kept)}
    every = [asdict(kept[name]) for name in sorted(kept)]
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(every, indent=2, ensure_ascii=False)
    (folder / RESULTS).write_text(text + "\n", encoding="utf-8")
    write(folder)


def is_unknown(client: str, kept: Mapping[str, Run]) -> bool:
    return client not in kept or bool(kept[client].not_run)


def kept_runs(folder: Path = FOLDER) -> list[Run]:
    """Return the stored results by name."""
    file = folder / RESULTS
    return [Run(**one) for one in json.loads(file.read_text("utf-8"))] if file.exists() else []


def write(folder: Path = FOLDER) -> None:
    (folder / PAGE).write_text(page(kept_runs(folder)), encoding="utf-8")


def page(runs: list[Run]) -> str:
    """Return the whole page."""
    tables = [section(kind, runs) for kind in TITLES]
    parts = [INTRODUCTION, pages(), *tables, over_http(runs), absent(runs)]
    return "\n".join(part for part in parts if part)


def pages() -> str:
    """Return links to the pages on the setup of each client."""
    files = sorted(file.name for file in FOLDER.glob("*.md") if file.name != PAGE)
    links = ", ".join(f"[{name.removesuffix('.md')}]({name})" for name in files)
    return f"How to set one up: {links}.\n" if links else ""


def section(kind: Kind, runs: list[Run]) -> str:
    """Return the table of one kind, then the remarks on each client."""
    mine = [run for run in runs if run.kind == kind and not run.access and not run.not_run]
    rows = [(*row(run), run.waits or "not measured") for run in mine]
    return f"## {TITLES[kind]}\n\n{table(HEADS, rows, mine)}" if mine else ""


def over_http(runs: list[Run]) -> str:
    """Return the table of the clients over HTTP, then the remarks on each."""
    mine = [run for run in runs if run.access and not run.not_run]
    rows = [(*row(run), f"`{run.access}`") for run in mine]
    if not mine:
        return ""
    return f"## {HTTP_TITLE}\n\n{HTTP_INTRODUCTION}\n{table(HTTP_HEADS, rows, mine)}"


def table(heads: tuple[str, ...], rows: list[tuple[str, ...]], runs: list[Run]) -> str:
    lines = [heads, tuple("---" for _ in heads), *rows]
    cells = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return f"{cells}\n\n" + "\n".join(map(remarks, runs)) + "\n"


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

"""`python -m clients [--smoke | NAMES]`: drive real clients against the real server.

Exit code 1 if a client failed. A client that cannot be installed is reported, but is not a
failure. The results go into docs/clients, except those of a smoke run.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterable

from clients import agents, table
from clients.http_agents import HTTP_AGENTS
from clients.patience import wait_out
from clients.record import Driver, Run, failures
from clients.roster import HTTP_LIBRARIES, LIBRARIES, SMOKE

CLIENTS: dict[str, Driver] = {
    **{one.name: one for one in (*LIBRARIES, *HTTP_LIBRARIES)},
    **agents.AGENTS,
    **HTTP_AGENTS,
}


def main(words: list[str]) -> int:
    """Drive all clients, or the named ones."""
    parser = argparse.ArgumentParser(prog="clients", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--smoke", action="store_true", help="few and quick; docs stay as they are")
    given = parser.parse_args(words)
    if unknown := sorted(set(given.names) - set(CLIENTS)):
        parser.error(f"no such client: {', '.join(unknown)} (known: {', '.join(CLIENTS)})")
    runs = list(each(given.names or (SMOKE if given.smoke else CLIENTS)))
    if not given.smoke:
        wait_out(LIBRARIES, {run.client: run for run in runs})
        table.keep(runs)
    if failed := failures(runs):
        say(f"clients: failed: {', '.join(failed)} (build/clients/NAME has the logs)")
        return 1
    return 0


def each(names: Iterable[str]) -> Iterable[Run]:
    """Run and print the clients one after the other."""
    for name in names:
        begun = time.monotonic()
        run = CLIENTS[name]()
        run.save()
        say(f"{name:18} {time.monotonic() - begun:5.1f} s  {line(run)}")
        yield run


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def line(run: Run) -> str:
    """Format one run in one line; a failure with its reasons."""
    if run.not_run:
        return f"not run: {run.not_run}"
    what = (
        f"{run.version}  era {run.era}  elicitation {run.elicitation}  tools {run.tools}/{run.of}"
        f"  sees {run.sees or '-'}"
    )
    wrong = [
        f"\n    {step}: {said}"
        for step, said in (("read", run.read), ("write", run.write), ("refused", run.refused))
        if said != "ok"
    ]
    return ("FAILED  " if run.failed else "ok  ") + what + "".join(wrong)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

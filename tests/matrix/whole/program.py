"""The service's own program, with seconds that stand for minutes.

`python -m matrix.whole.program serve --http …`. No setting changes these times.
"""

from __future__ import annotations

import os
import sys
from dataclasses import MISSING, fields
from typing import Any

from kartra_mcp.cli.main import main
from kartra_mcp.core.timings import WriteTimings
from kartra_mcp.ledger.postgres.send_rights import SendRights
from matrix import seeded

SEEDED_VARIABLE = "MATRIX_SEEDED"
"""Names of faults to put into this replica (`matrix.seeded`), to see that the judge finds them."""

ANSWER_SECONDS, LOOK_SECONDS = 2.0, 0.3
POLL_SECONDS, SETTLE_SECONDS = 0.5, 1.0


def set_defaults(kind: type, **values: float) -> None:
    """Change the defaults of a dataclass in this process."""
    names = [one.name for one in fields(kind) if one.default is not MISSING]  # type: ignore[arg-type]
    if not values.keys() <= set(names):
        raise AttributeError(f"{kind.__name__} has no default of {sorted(values)}")
    init: Any = kind.__init__
    init.__defaults__ = tuple(
        {**dict(zip(names, init.__defaults__, strict=True)), **values}.values()
    )


def shorten() -> None:
    """Let an answer, the time between two looks, and the jobs take seconds."""
    from kartra_mcp.service.jobs import ServiceJobs

    set_defaults(SendRights, answer_seconds=ANSWER_SECONDS)
    set_defaults(WriteTimings, look_seconds=LOOK_SECONDS)
    set_defaults(ServiceJobs, poll=POLL_SECONDS, settle=SETTLE_SECONDS)


if __name__ == "__main__":
    shorten()
    seeded.apply(filter(None, os.environ.get(SEEDED_VARIABLE, "").split(",")))
    main(sys.argv[1:])

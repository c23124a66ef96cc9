"""Shared part of every Python client program: the plan as input, one JSON as output.

The plan is the first argument: `{"server": {"command", "args", "env"}, "calls": [[step, tool,
arguments]…], "asks"?: true, …}`. With `asks` the client declares forms, and accepts one after
`THINKING` seconds, because an answer in under a second counts as a machine's. The output:
`{"version", "tools": [names], "said": {step: {"handed", "failed"}}, "notes": [texts]}`, where
`handed` is the result of the call for the caller or the model.
"""

import json
import os
import sys
from importlib.metadata import version

PLAN = json.loads(sys.argv[1])
SERVER = PLAN["server"]
CALLS = PLAN["calls"]
ASKS = PLAN.get("asks", False)
YES = {"confirm": True}
THINKING = 1.5

# The answer has stdout to itself; what libraries print goes to stderr.
_ANSWER = os.fdopen(os.dup(1), "w", encoding="utf-8")
os.dup2(2, 1)


def answer(package, tools, said, notes=()):
    """Print the output."""
    found = {"version": version(package), "tools": sorted(tools), "said": said, "notes": notes}
    json.dump(found, _ANSWER, ensure_ascii=False)
    _ANSWER.write("\n")
    _ANSWER.flush()


def told(handed, *, failed=False):
    """Return the result of one call."""
    return {"handed": handed, "failed": bool(failed)}

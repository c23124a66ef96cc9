"""What every Python client program shares: the plan it is given, and the one JSON it prints.

The plan is the first argument: `{"server": {"command", "args", "env"}, "calls": [[step, tool,
arguments]…], "asks"?: true, …}`. Where it asks, the client declares that it can put a form to a
person, and says yes after `THINKING` seconds: an answer in under a second is taken for a
machine's. The answer: `{"version", "tools": [names], "said": {step: {"handed", "failed"}},
"notes": [texts]}`, where `handed` is what the caller, or the model, is given for the call.
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
    """Print the answer."""
    found = {"version": version(package), "tools": sorted(tools), "said": said, "notes": notes}
    json.dump(found, _ANSWER, ensure_ascii=False)
    _ANSWER.write("\n")
    _ANSWER.flush()


def told(handed, *, failed=False):
    """What one call brought."""
    return {"handed": handed, "failed": bool(failed)}

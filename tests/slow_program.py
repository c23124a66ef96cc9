"""The sandbox with writes whose effect and answer come at different times.

`slow_program.py FOLDER WORDS…`: the account is FOLDER/sandbox/account.db. FOLDER/plans/ID.json
is the behavior of refunds of transaction ID, and of points for lead ID: [how, seconds].

plain   as the sandbox does it
slow    the effect and the answer after some seconds
gated   the effect and the answer once FOLDER/plans/ID.go is there
lost    the effect at once; no answer, and an end after some seconds
late    the end at once, without an answer; the effect some seconds later
killed  the same, but it is killed
hangs   the effect some seconds later; it never ends by itself
never   an end without answer or effect

What comes later is done by a process of its own that holds nothing of ours, as Kartra would. Every
start of such a write is a line of FOLDER/starts, with its process id; FOLDER/plans/ID.done is there
once the effect is.
"""

import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from contextlib import redirect_stdout
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from kartra_mcp.sandbox.cli import main

REFUND = "67c41d8e9a02b35f716e4b31"
POINTS = re.compile(r"--data=lead%5Bid%5D=(\d+)&.*=give_points_to_lead\b")


def play(folder: Path, words: list[str]) -> int:
    account = f"--account={folder / 'sandbox' / 'account.db'}"
    number = refunded(words) or given_points(words)
    if number is None:
        return main([account, *words])
    with (folder / "starts").open("a") as file:
        file.write(f"{number} {os.getpid()}\n")
    plan = folder / "plans" / f"{number}.json"
    how, seconds = json.loads(plan.read_text()) if plan.exists() else ("plain", 0)
    if how in {"plain", "slow", "gated"}:
        wait(how, seconds, plan)
        return main([account, *words])
    if how == "lost":
        effect(plan, [account, *words])
        time.sleep(seconds)
    elif how != "never":
        later = [sys.executable, __file__, "--later", str(seconds), str(plan), account, *words]
        null = subprocess.DEVNULL
        subprocess.Popen(later, start_new_session=True, stdin=null, stdout=null, stderr=null)
    return end(how)


def wait(how: str, seconds: float, plan: Path) -> None:
    time.sleep(seconds if how == "slow" else 0)
    while how == "gated" and not plan.with_suffix(".go").exists():
        time.sleep(0.02)


def end(how: str) -> int:
    if how == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if how == "hangs":
        time.sleep(600)
    return 1


def refunded(words: list[str]) -> int | None:
    if words[:3] != ["action", "run", REFUND]:
        return None
    given = next(word for word in words if word.startswith("--input="))
    return json.loads(given.removeprefix("--input="))["transaction_id"]


def given_points(words: list[str]) -> int | None:
    found = [POINTS.match(word) for word in words if words[0] == "request"]
    return next((int(match[1]) for match in found if match), None)


def effect(plan: Path, words: list[str]) -> None:
    with redirect_stdout(io.StringIO()):
        main(words)
    plan.with_suffix(".done").touch()


if __name__ == "__main__":
    if sys.argv[1] == "--later":
        time.sleep(float(sys.argv[2]))
        effect(Path(sys.argv[3]), sys.argv[4:])
    else:
        sys.exit(play(Path(sys.argv[1]), sys.argv[2:]))

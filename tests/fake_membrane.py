"""A program with `membrane`'s arguments that follows a plan; it is not the sandbox.

`fake_membrane.py FOLDER VERB…`: FOLDER/plan.json maps the beginning of the words (joined by blanks)
to steps; the longest match wins. A step: {"out": any JSON or text, "err": text, "exit": number,
"hang": true, "child": true, "gate": name, "done": name, "flood": true, "signal": number}. `hang`
never answers; `child` leaves a grandchild that ignores SIGTERM; `gate` waits until FOLDER/NAME
exists; `done` makes FOLDER/NAME at the end; `flood` prints 40 MB; `signal` kills itself. A list of
steps is played in turn, the last one repeated. Every start is a line of FOLDER/log: pid and words
as JSON. "$words" in `out` is replaced by the words of the start.
"""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path


def main(argv, out, err, pid):
    """The exit status; what needs a process of its own (`hang`, `signal`…) ends this one."""
    folder, words = Path(argv[0]), argv[1:]
    with (folder / "log").open("a") as log:
        log.write(json.dumps({"pid": pid, "words": words}) + "\n")
    return play(folder, step(folder, words), words, out, err)


def planned(folder, words):
    """The beginning that matches, and its steps."""
    plan = json.loads((folder / "plan.json").read_text())
    said = " ".join(words)
    matching = [begin for begin in plan if said.startswith(begin)]
    if not matching:
        return "", {"err": f"Unknown command: {said}", "exit": 2}
    begin = max(matching, key=len)
    return begin, plan[begin]


def step(folder, words):
    begin, steps = planned(folder, words)
    if not isinstance(steps, list) or not all(isinstance(s, dict) for s in steps):
        return steps
    log = (folder / "log").read_text().splitlines()
    played = sum(" ".join(json.loads(line)["words"]).startswith(begin) for line in log)
    return steps[min(played, len(steps)) - 1]


def play(folder, now, words, out, err):
    if now.get("child"):
        leave_grandchild(folder)
    while now.get("gate") and not (folder / now["gate"]).exists():
        time.sleep(0.01)
    while now.get("hang"):
        time.sleep(60)
    err.write(now.get("err", ""))
    said = now.get("out", "")
    text = said if isinstance(said, str) else json.dumps(said)
    out.write(text.replace('"$words"', json.dumps(words)))
    out.write("x" * 40_000_000 if now.get("flood") else "")
    out.flush()
    if "signal" in now:
        os.kill(os.getpid(), now["signal"])
    if "done" in now:
        (folder / now["done"]).touch()
    return now.get("exit", 0)


def leave_grandchild(folder):
    code = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
    child = subprocess.Popen([sys.executable, "-c", code])
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    with (folder / "children").open("a") as file:
        file.write(f"{child.pid}\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], sys.stdout, sys.stderr, os.getpid()))

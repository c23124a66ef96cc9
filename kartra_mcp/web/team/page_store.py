"""Logins and sessions of the page as JSON, in the tables that every replica shares."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

from kartra_mcp.core.principal import Principal, is_role
from kartra_mcp.identity.login import Login
from kartra_mcp.identity.login_exchange import LoginAttempt
from kartra_mcp.ledger.postgres.page_tables import PageTables, SessionRow
from kartra_mcp.web.team.records import SESSION_SECONDS, BegunLogin, StoredSession


@dataclass(frozen=True, slots=True)
class DatabasePageStore:
    """The store of a deployment; synchronous."""

    tables: PageTables

    def add_login(self, key: str, begun: BegunLogin) -> None:
        self.tables.add_login(key, json.dumps(asdict(begun)))

    def take_login(self, key: str) -> BegunLogin | None:
        record = self.tables.take_login(key)
        return None if record is None else _parse_begun(record)

    def open_session(self, session: StoredSession, replaces: str = "") -> None:
        record = json.dumps(_dump_login(session.login))
        row = SessionRow(session.key, record, session.opened_at, session.used_at, session.flash)
        principal, ends_at = session.login.principal.key, session.opened_at + SESSION_SECONDS
        self.tables.open_session(row, principal, ends_at, replaces)

    def find_session(self, key: str) -> StoredSession | None:
        row = self.tables.find_session(key)
        return None if row is None else _make_session(row)

    def list_sessions(self, principal: str) -> list[StoredSession]:
        """List the sessions of a principal by its key, the newest first."""
        return [_make_session(row) for row in self.tables.list_sessions(principal)]

    def touch_session(self, key: str, now: float) -> None:
        self.tables.touch_session(key, now)

    def set_flash(self, key: str, flash: str) -> None:
        self.tables.set_flash(key, flash)

    def end_session(self, key: str) -> None:
        self.tables.end_session(key)


def _parse_begun(record: str) -> BegunLogin:
    found: dict[str, Any] = json.loads(record)
    attempt: dict[str, Any] = {
        **found["attempt"],
        "acr_values": tuple(found["attempt"]["acr_values"]),
    }
    return BegunLogin(LoginAttempt(**attempt), found["browser"], found["return_path"])


def _make_session(row: SessionRow) -> StoredSession:
    login = _parse_login(json.loads(row.record))
    return StoredSession(row.key, login, row.opened_at, row.used_at, row.flash)


def _dump_login(login: Login) -> dict[str, Any]:
    who = login.principal
    sets = {"roles": sorted(who.roles), "scopes": sorted(who.scopes), "claims": sorted(who.claims)}
    principal: dict[str, Any] = {**asdict(who), **sets}
    del principal["token_key"]  # of no use here, and unknown to a replica of an older version
    return {"principal": principal, "auth_time": login.auth_time, "acr": login.acr}


def _parse_login(record: dict[str, Any]) -> Login:
    sets = {
        "roles": frozenset(role for role in record["principal"]["roles"] if is_role(role)),
        "scopes": frozenset(record["principal"]["scopes"]),
        "claims": frozenset(record["principal"]["claims"]),
    }
    values: dict[str, Any] = {**record["principal"], **sets}
    return Login(Principal(**values), record["auth_time"], record["acr"])

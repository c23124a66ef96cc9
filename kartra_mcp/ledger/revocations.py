"""People and tokens whose access to an account an admin revoked, until they are released.

The entries are all there is: the newest one about a key decides.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from kartra_mcp.core.errors import RefusedError
from kartra_mcp.core.principal import Principal
from kartra_mcp.ledger import approval_rows
from kartra_mcp.ledger.bulk_states import cancel_approved_by
from kartra_mcp.ledger.database import Query, make_in_list
from kartra_mcp.ledger.people import (
    MAX_NAME_CHARS,
    MAX_REASON_CHARS,
    clean_line,
    make_requester,
    parse_requester,
)
from kartra_mcp.ledger.projection import parse_payload
from kartra_mcp.ledger.records import format_utc
from kartra_mcp.ledger.store import LedgerStore
from kartra_mcp.ledger.transaction import Transaction

_MAX_STORED_CHARS = MAX_REASON_CHARS + 100
"""Of a reason: on the command line the user of the operating system comes after it."""
NAMED_ENTRIES = 100_000
"""Newest entries in which the name of a key is looked for."""
_KEY = re.compile(r"(jti_)?[0-9a-f]{32}")
_ENTRIES = "SELECT n, at, body FROM lines WHERE kind = 'revocation'"
_NAMED = (
    "SELECT body FROM lines WHERE kind IN ('intent', 'consent') AND n > ? AND body LIKE ?"
    " ORDER BY n DESC LIMIT 1"
)


@dataclass(frozen=True, slots=True)
class Admin:
    """The admin of a change: a principal of the page, or a typed name without a key."""

    name: str
    person: str = ""


@dataclass(frozen=True, slots=True)
class Revocation:
    """An access that is revoked.

    Attributes:
        at: seconds since the epoch.
        key: of the principal, or of the token.
        name: of its person, as the ledger knows it.
        who: name of the admin.
    """

    at: float
    key: str
    name: str
    who: str
    reason: str

    @property
    def is_unnamed(self) -> bool:
        """Return whether no entry of the ledger names the key: it may be misspelled."""
        return self.name.endswith(_name_key(self.key))


@dataclass(frozen=True, slots=True)
class Revocations:
    """The revoked accesses of one ledger."""

    store: LedgerStore

    def revoke(self, key: str, by: Admin, reason: str) -> Revocation:
        """Revoke an access at once. What rests on it and was not used is withdrawn.

        Raises:
            RefusedError: `invalid_arguments` without a reason, or for what is no key;
                `forbidden_role` for an admin who was revoked.
        """
        return self._change("revoked", key, by, reason)

    def release(self, key: str, by: Admin, reason: str) -> Revocation:
        """Release an access; what was withdrawn has to be asked for again.

        Raises:
            RefusedError: `invalid_arguments` without a reason, or if it is not revoked;
                `forbidden_role` for an admin who was revoked.
        """
        return self._change("released", key, by, reason)

    def list_in_force(self) -> list[Revocation]:
        """List the revoked accesses, oldest first."""
        with self.store.read_transaction() as transaction:
            return list(fold({}, transaction.fetch_all(f"{_ENTRIES} ORDER BY n")).values())

    def require_access(self, principal: Principal) -> None:
        """Raise `forbidden_role` for a call of a revoked person or token."""
        requester = make_requester(principal)
        assert requester is not None  # noqa: S101  of a principal
        with self.store.read_transaction() as transaction:
            refusal = find_refusal(transaction, requester.keys)
        if refusal is not None:
            raise refusal

    def _change(
        self, event: Literal["revoked", "released"], key: str, by: Admin, reason: str
    ) -> Revocation:
        why, who = clean_line(reason, _MAX_STORED_CHARS), clean_line(by.name, MAX_NAME_CHARS)
        if not (why and who):
            raise _no_reason_error()
        if not _KEY.fullmatch(key):
            raise _no_key_error()
        with self.store.read_transaction() as transaction:  # a search must not keep writers waiting
            name = _find_name(transaction, key)
        person = {"person": by.person} if by.person else {}
        body = {"event": event, "key": key, "target": name, "who": who, **person, "reason": why}
        with self.store.write_transaction(settles=event == "revoked") as transaction:
            # The page of a replica may not have read it yet: nobody releases their own access.
            refusal = find_refusal(transaction, (by.person,)) if by.person else None
            if refusal is not None:
                raise refusal
            if event == "revoked":
                approval_rows.withdraw_all_of(transaction, key, who)
                cancel_approved_by(transaction, key)
            elif not _find(transaction, (key,)):
                raise _not_revoked_error(name)
            line = transaction.append("revocation", body)
        return Revocation(line.at, key, name, who, why)


def of_keys_query(keys: Sequence[str]) -> Query:
    """Return the read of the entries about these keys; PostgreSQL has an index for it."""
    about = f"json_extract(body, '$.key') IN ({make_in_list(len(keys))})"
    return Query(f"{_ENTRIES} AND {about} ORDER BY n", tuple(keys))


def find_refusal(transaction: Transaction, keys: Sequence[str]) -> RefusedError | None:
    """Return the refusal of a person or token that is revoked, or None."""
    found = next(iter(_find(transaction, keys)), None)
    if found is None:
        return None
    return RefusedError(
        "forbidden_role",
        f"An admin revoked this access at {format_utc(found.at)}. Nothing was done.",
        "Ask an admin of this account. Only an admin can release it.",
    )


def is_revoked_since(transaction: Transaction, key: str, line: int) -> bool:
    """Return whether a person is revoked, or was after an entry: a release does not revive it."""
    rows = transaction.read(of_keys_query((key,)))
    return bool(fold({}, rows)) or any(row["n"] > line for row in rows)


def fold(known: dict[str, Revocation], rows: Iterable[Any]) -> dict[str, Revocation]:
    """Apply entries, in their order, to what is revoked by key; return it."""
    for row in rows:
        entry = parse_payload(row["body"])
        known.pop(entry["key"], None)
        if entry["event"] == "revoked":
            known[entry["key"]] = Revocation(
                row["at"], entry["key"], entry["target"], entry["who"], entry["reason"]
            )
    return known


def _find(transaction: Transaction, keys: Sequence[str]) -> list[Revocation]:
    return list(fold({}, transaction.read(of_keys_query(keys))).values())


def _find_name(transaction: Transaction, key: str) -> str:
    """Return the name of the person of a key by the newest entry that has it: no address."""
    since = transaction.head.count - NAMED_ENTRIES
    row = transaction.fetch_one(_NAMED, since, f'%"{key}"%')
    entry = {} if row is None else parse_payload(row["body"])
    asker = parse_requester(entry["requester"]) if "requester" in entry else None
    own = asker is not None and key in asker.keys
    name = asker.name if asker is not None and own else entry.get("who", "")
    name = name or _name_key(key)
    return f"a token of {name}" if key.startswith("jti_") else name


def _name_key(key: str) -> str:
    return f"unnamed {key.removeprefix('jti_')[:8]}"


def _no_reason_error() -> RefusedError:
    return RefusedError(
        "invalid_arguments",
        "A revocation and a release need a name and a reason for the ledger. Nothing was changed.",
        "Enter both, and repeat it.",
    )


def _no_key_error() -> RefusedError:
    return RefusedError(
        "invalid_arguments",
        "This names neither a person nor a token. Nothing was changed.",
        "Enter the subject of the person, or the key as the logs have it.",
    )


def _not_revoked_error(name: str) -> RefusedError:
    return RefusedError(
        "invalid_arguments",
        f"The access of {name} is not revoked. Nothing was changed.",
        "Run `kartra-mcp team revoke` without a person to list what is revoked.",
    )

"""`kartra-mcp team revoke` and `team release`: end an access in every account at once.

The name of the admin is typed and not proved, so that the user of the operating system is recorded
with it.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from functools import partial
from typing import Any

from kartra_mcp.cli.team_context import TeamContext, report_each
from kartra_mcp.cli.team_ledgers import make_store, open_database
from kartra_mcp.core.display import display_value, get_os_user
from kartra_mcp.core.errors import KartraMCPError, RefusedError
from kartra_mcp.core.exit_codes import EXIT_FAILED, EXIT_OK
from kartra_mcp.core.principal import make_principal_key, make_token_key
from kartra_mcp.ledger.people import MAX_REASON_CHARS
from kartra_mcp.ledger.records import format_utc
from kartra_mcp.ledger.revocations import Admin, Revocation, Revocations
from kartra_mcp.team.faults import suggest

_Found = list[Revocation] | KartraMCPError


def add_subject(parser: ArgumentParser) -> None:
    """Add the arguments that name an access, the admin and the reason."""
    subject = parser.add_mutually_exclusive_group()
    subject.add_argument("--person", metavar="SUBJECT", help="a user, by the subject at the issuer")
    subject.add_argument("--token", metavar="JTI", help="one access token, by its claim jti")
    subject.add_argument("--key", metavar="KEY", help="a user or token, by its key in the logs")
    parser.add_argument("--issuer", metavar="ISSUER", help="default: the only one of the team file")
    parser.add_argument("--by", metavar="NAME", help="the admin who does it")
    parser.add_argument("--reason", metavar="TEXT", help="why, for the ledger")


def revoke(given: Namespace, place: TeamContext) -> int:
    """Return 0 if it is revoked in each account; without a person or token, after the list."""
    key = _find_key(given, place)
    if key is None:
        found = _run_each(place, Revocations.list_in_force)
        return _report(given, found, "revoked by")
    by, reason = _read_admin(given)
    found = _run_each(place, lambda one: [one.revoke(key, by, reason)])
    return _report(given, found, "is revoked now, by")


def release(given: Namespace, place: TeamContext) -> int:
    """Return 0 if it is released in each account in which it was revoked, and there is one."""
    key = _find_key(given, place)
    if key is None:
        raise _no_subject_error()
    by, reason = _read_admin(given)

    def work(one: Revocations) -> list[Revocation]:
        is_revoked = any(found.key == key for found in one.list_in_force())
        return [one.release(key, by, reason)] if is_revoked else []

    found = _run_each(place, work)
    if not any(found.values()):
        raise _not_revoked_error()
    return _report(given, found, "is released now, by")


def _run_each(
    place: TeamContext, work: Callable[[Revocations], list[Revocation]]
) -> dict[str, _Found]:
    """Run it on each account: one that cannot be written must not keep the others from it."""
    found: dict[str, _Found] = {}
    with open_database(place.team) as connections:
        for name in place.accounts:
            try:
                found[name] = work(Revocations(make_store(connections, name, b"")))
            except KartraMCPError as problem:
                found[name] = problem
    return found


def _find_key(given: Namespace, place: TeamContext) -> str | None:
    """Return the key of the access that is named; None if there is none."""
    if given.person is not None:
        return make_principal_key(_find_issuer(given, place), given.person)
    if given.token is not None:
        return make_token_key(_find_issuer(given, place), given.token)
    return given.key


def _find_issuer(given: Namespace, place: TeamContext) -> str:
    known = [one.issuer for one in place.team.config.issuers]
    issuer = known[0] if given.issuer is None and len(known) == 1 else given.issuer
    if issuer not in known:
        raise RefusedError(
            "invalid_arguments",
            "The issuer of this person or token is not known. Nothing was changed.",
            f"Name it with --issuer. {suggest(issuer or '', known)}",
        )
    return issuer


def _read_admin(given: Namespace) -> tuple[Admin, str]:
    if not (given.by and given.reason):
        raise RefusedError(
            "invalid_arguments",
            "An access is revoked or released with an admin and a reason. Nothing was changed.",
            "Add --by NAME --reason TEXT.",
        )
    return Admin(
        given.by
    ), f"{given.reason[:MAX_REASON_CHARS]} (typed by the OS user {get_os_user()})"


def _report(given: Namespace, found: Mapping[str, _Found], done: str) -> int:
    report_each(given, found, _as_json, partial(_describe, done=done))
    failed = any(isinstance(one, KartraMCPError) for one in found.values())
    return EXIT_FAILED if failed else EXIT_OK


def _as_json(found: list[Revocation]) -> dict[str, Any]:
    return {"accesses": [asdict(one) for one in found]}


def _describe(found: list[Revocation], done: str) -> Iterator[str]:
    for access in found:
        what = f"{access.name} ({access.key}) {done} {access.who} at {format_utc(access.at)}"
        yield display_value(f"{what}: {access.reason}.")
        if access.is_unnamed:
            yield "No entry names this key. Compare the subject and the issuer."
    if not found:
        yield "nothing is revoked."


def _no_subject_error() -> RefusedError:
    return RefusedError(
        "invalid_arguments",
        "No person or token was named. Nothing was changed.",
        "Run `kartra-mcp team revoke` to list what is revoked, then name one with --key KEY.",
    )


def _not_revoked_error() -> RefusedError:
    return RefusedError(
        "invalid_arguments",
        "This person or token is not revoked in these accounts. Nothing was changed.",
        "Run `kartra-mcp team revoke` to list what is revoked.",
    )

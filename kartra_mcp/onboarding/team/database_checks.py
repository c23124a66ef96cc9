"""State of a team's database to findings. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from kartra_mcp.ledger.errors import LedgerRefusedError
from kartra_mcp.ledger.postgres.deployment import DatabaseState, LedgerState
from kartra_mcp.ledger.postgres.migrations import require_version
from kartra_mcp.onboarding.doctor.findings import CheckResult, failed, passed, warning

DATABASE, RIGHTS, STANDBY, CLOCK = "database", "rights", "standby", "database clock"
NOTICEABLE_SECONDS = 2.0
_MIGRATE = "Run `kartra-mcp team migrate` with KARTRA_MCP_MIGRATE_DATABASE, as the owner."


def judge_database(state: DatabaseState, *, is_remote: bool) -> list[CheckResult]:
    """Return the findings about a database; `is_remote`: its host is another machine."""
    return [
        _judge_server(state, is_remote=is_remote),
        _judge_standby(state),
        _judge_clock(state),
        *(
            finding
            for name, ledger in state.ledgers.items()
            for finding in _judge_ledger(name, ledger, state)
        ),
    ]


def _judge_server(state: DatabaseState, *, is_remote: bool) -> CheckResult:
    about = f"PostgreSQL {state.version} answers the role {state.role}"
    if state.is_standby:
        fix = "Name the primary in the address, or add target_session_attrs=read-write to it."
        return failed(DATABASE, f"{about}, but it is a standby and takes no writes.", fix)
    if not state.durable:
        fix = "Switch both on in postgresql.conf, and restart it. No write runs before."
        return failed(DATABASE, f"{about}, but fsync or full_page_writes is off.", fix)
    if is_remote and not state.encrypted:
        fix = "Add sslmode=verify-full to its address, with the certificate of its authority."
        return warning(DATABASE, f"{about}; the connection is not encrypted.", fix)
    return passed(DATABASE, f"{about}.")


def _judge_standby(state: DatabaseState) -> CheckResult:
    if state.has_standby:
        return passed(STANDBY, "A commit waits for a synchronous standby.")
    return warning(
        STANDBY,
        "No synchronous standby is named: a failover can forget the newest commits.",
        "Set synchronous_standby_names, and keep synchronous_commit on.",
    )


def _judge_clock(state: DatabaseState) -> CheckResult:
    seconds = state.clock_ahead
    if abs(seconds) <= NOTICEABLE_SECONDS:
        return passed(CLOCK, "The clock of the database agrees with this machine's.")
    direction = "ahead of" if seconds > 0 else "behind"
    message = f"The clock of the database is {abs(seconds):.0f} seconds {direction} this machine's."
    return warning(CLOCK, message, "Set both clocks from the network.")


def _judge_ledger(name: str, ledger: LedgerState, state: DatabaseState) -> Iterator[CheckResult]:
    step = f"ledger {name}"
    try:
        require_version(ledger.version, ledger.oldest_program)
    except LedgerRefusedError as problem:
        yield failed(step, f"{problem.why[0].upper()}{problem.why[1:]}.", _MIGRATE)
        return
    yield passed(step, f"Its tables have schema version {ledger.version}.")
    if state.is_superuser:
        fix = "Create a role of its own for the service (docs/team/operations.md)."
        yield warning(RIGHTS, f"The role {state.role} is a superuser: nothing binds it.", fix)
    elif ledger.owns:
        fix = "Let another role own the tables, and run `kartra-mcp team migrate` as that role."
        yield warning(RIGHTS, f"The role {state.role} owns the entries of {name}.", fix)
    elif ledger.forbidden:
        found = ", ".join(ledger.forbidden)
        yield failed(RIGHTS, f"The role {state.role} may {found} entries of {name}.", _MIGRATE)
    else:
        yield passed(RIGHTS, f"The role {state.role} can add entries of {name}, not change them.")

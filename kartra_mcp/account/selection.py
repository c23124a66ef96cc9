"""Choose the Membrane connection to serve; two candidates are an error. Pure."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Sequence

from kartra_mcp.core.errors import RefusedError
from kartra_mcp.core.models import Connection
from kartra_mcp.core.sanitize import strip_control_chars, truncate


def is_kartra(connection: Connection) -> bool:
    """Recognize Kartra by integration or connector, else by the connection's own key or name."""
    if connection.app:
        return "kartra" in connection.app.lower()
    return "kartra" in connection.key.lower() or "kartra" in connection.name.lower()


def select_connection(
    connections: Sequence[Connection], wanted: str | None, served_last: str | None
) -> Connection:
    """Return the connection to serve.

    Args:
        connections: all that Membrane lists.
        wanted: the setting: an id, a key, or a name that only one has.
        served_last: the id of the connection served last from this state folder.

    Raises:
        RefusedError: no_connection, several_connections, with a remedy.
    """
    if wanted:
        return _find_named(connections, wanted)
    ours = [c for c in connections if is_kartra(c) and c.state != "ARCHIVED"]
    last = next((c for c in ours if c.id == served_last), None)
    if last:
        return last
    ready = [c for c in ours if c.usable]
    if served_last and ours:
        raise _ambiguous_error(ours, "The connection that was served last is gone")
    if len(ready) == 1 or (not ready and len(ours) == 1):
        return (ready or ours)[0]
    if ours:
        raise _ambiguous_error(ours, f"There are {len(ours)} Kartra connections")
    raise no_connection_error()


def connection_to_fix(
    connections: Sequence[Connection], wanted: str | None, served_last: str | None
) -> Connection | None:
    """Return the connection that the user must make ready.

    The arguments are those of `select_connection`. None: Membrane lists no Kartra connection and
    none is configured, so that a new one may be started. A connection other than the one served
    last may be made ready too; only the setting chooses to serve it.

    Raises:
        RefusedError: no_connection, several_connections.
    """
    ours = [c for c in connections if is_kartra(c) and c.state != "ARCHIVED"]
    if not wanted and not ours:
        return None
    if not wanted and len(ours) == 1 and not ours[0].usable:
        return ours[0]
    chosen = select_connection(connections, wanted, served_last)
    if chosen.state == "ARCHIVED":
        raise RefusedError(
            "no_connection",
            "The connection that KARTRA_MCP_CONNECTION names is archived in Membrane.",
            "Set it to the id of another connection, or restore this one in Membrane.",
            detail={"connection": connection_summary(chosen)},
        )
    return chosen


def require_usable(connection: Connection) -> None:
    """Raise `connection_not_ready` unless calls can use the connection."""
    if connection.usable:
        return
    raise RefusedError(
        "connection_not_ready",
        f"The Kartra connection {connection.id!r} is in the state {connection.state!r}.",
        "Reconnect it, never make a new one: call kartra_connect, if it is listed, or run "
        "`kartra-mcp setup` or `membrane connect "
        f"--connectionId={shell_quote_id(connection.id)}` in a "
        "terminal.",
        detail={"connection": connection_summary(connection), "reason": connection.error},
    )


def shell_quote_id(identity: str) -> str:
    """Return an id as one word of a shell command that the user may paste."""
    return shlex.quote(truncate(strip_control_chars(identity), 120))


def connection_summary(connection: Connection) -> dict[str, str]:
    """Return the displayable fields of a connection; names are untrusted."""
    return {
        "id": connection.id,
        "key": connection.key,
        "name": connection.name,
        "state": connection.state,
    }


def _find_named(connections: Iterable[Connection], wanted: str) -> Connection:
    known = tuple(connections)
    found = (
        [c for c in known if c.id == wanted]
        or [c for c in known if c.key == wanted]
        or [c for c in known if c.name == wanted]
    )
    if len(found) > 1:
        raise _ambiguous_error(found, f"{len(found)} connections have the key or name {wanted!r}")
    if not found:
        raise RefusedError(
            "no_connection",
            "The connection that KARTRA_MCP_CONNECTION names does not exist.",
            "Set it to the id of a connection from `membrane connection list`.",
            detail={"connections": [connection_summary(c) for c in known if is_kartra(c)]},
        )
    if found[0].app and not is_kartra(found[0]):
        raise RefusedError(
            "no_connection",
            "The connection that KARTRA_MCP_CONNECTION names belongs to another app.",
            "Set it to the id of a Kartra connection.",
            detail={"connection": connection_summary(found[0])},
        )
    return found[0]


def _ambiguous_error(connections: Iterable[Connection], what: str) -> RefusedError:
    return RefusedError(
        "several_connections",
        f"{what}; this server never chooses between accounts.",
        "Set KARTRA_MCP_CONNECTION to the id of the one to serve, then restart the server.",
        detail={"connections": [connection_summary(c) for c in connections]},
    )


def no_connection_error(connector: str | None = None) -> RefusedError:
    """Return the refusal; with the id of Kartra's connector, it has the command that starts one."""
    if connector and re.fullmatch(r"[A-Za-z0-9_-]{1,64}", connector):
        by_hand = f"`membrane connect --connectorId={connector}`."
    else:
        by_hand = (
            "find the connector with `membrane search kartra --elementType=connector --json`, "
            "then `membrane connect --connectorId=ID`."
        )
    return RefusedError(
        "no_connection",
        "Membrane has no Kartra connection.",
        "Call kartra_connect, if it is listed, or run `kartra-mcp setup` in a terminal. "
        f"By hand there: {by_hand}",
    )

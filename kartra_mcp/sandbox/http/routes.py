"""Route table: the paths that Membrane documents and those its JavaScript client requests."""

from __future__ import annotations

from collections.abc import Callable

from kartra_mcp.sandbox.http import actions, connections, logs, proxy, workspace
from kartra_mcp.sandbox.http.request import Call

Work = Callable[[Call], object]

_ONE = "/connections/{connection}"
_RUNS = "/action-run-logs"

ROUTES: dict[str, Work] = {
    "GET /self": workspace.self,
    "PATCH /self": workspace.self_changed,
    "GET /search": workspace.search,
    "GET /integrations": workspace.integrations,
    "GET /integration": workspace.integration,
    "GET /integrations/{integration}": workspace.integration,
    "GET /integrations/{integration}/actions": actions.of_integration,
    "GET /integrations/{integration}/actions/{action}": actions.got,
    "GET /connections": connections.listed,
    "POST /connections": connections.made,
    "POST /connections/ensure": connections.ensured,
    "POST /connect": connections.connected,
    f"GET {_ONE}": connections.got,
    f"PATCH {_ONE}": connections.changed,
    f"PUT {_ONE}": connections.changed,
    f"DELETE {_ONE}": connections.archived,
    f"POST {_ONE}/restore": connections.restored,
    f"POST {_ONE}/reconnect": connections.reconnected,
    f"POST {_ONE}/disconnect": connections.disconnected,
    f"POST {_ONE}/request": proxy.requested,
    **dict.fromkeys(
        [f"{method} {_ONE}/proxy/{{rest:path}}" for method in sorted(actions.METHODS)],
        proxy.passed_on,
    ),
    f"GET {_ONE}/actions": actions.of_connection,
    f"GET {_ONE}/actions/{{action}}": actions.got,
    f"POST {_ONE}/actions/{{action}}/run": actions.ran_there,
    "GET /actions": actions.listed,
    "GET /action": actions.got,
    "POST /action/run": actions.ran,
    "GET /actions/{action}": actions.got,
    "POST /actions/{action}/run": actions.ran,
    "POST /act": actions.acted,
    f"GET {_RUNS}": logs.listed,
    f"GET {_RUNS}/{{run}}": logs.got,
    f"GET {_RUNS}/{{run}}/details": logs.detailed,
}
"""Method and address, which is also the name for `fault set` → what answers it."""

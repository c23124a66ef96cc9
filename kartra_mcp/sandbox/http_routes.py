"""Every address of the HTTP door: what Membrane documents and what its JavaScript client asks."""

from __future__ import annotations

from collections.abc import Callable

from kartra_mcp.sandbox import (
    http_actions,
    http_connections,
    http_logs,
    http_proxy,
    http_workspace,
)
from kartra_mcp.sandbox.http_call import Call

Work = Callable[[Call], object]

_ONE = "/connections/{connection}"
_RUNS = "/action-run-logs"

ROUTES: dict[str, Work] = {
    "GET /self": http_workspace.self,
    "PATCH /self": http_workspace.self_changed,
    "GET /search": http_workspace.search,
    "GET /integrations": http_workspace.integrations,
    "GET /integration": http_workspace.integration,
    "GET /integrations/{integration}": http_workspace.integration,
    "GET /integrations/{integration}/actions": http_actions.of_integration,
    "GET /integrations/{integration}/actions/{action}": http_actions.got,
    "GET /connections": http_connections.listed,
    "POST /connections": http_connections.made,
    "POST /connections/ensure": http_connections.ensured,
    "POST /connect": http_connections.connected,
    f"GET {_ONE}": http_connections.got,
    f"PATCH {_ONE}": http_connections.changed,
    f"PUT {_ONE}": http_connections.changed,
    f"DELETE {_ONE}": http_connections.archived,
    f"POST {_ONE}/restore": http_connections.restored,
    f"POST {_ONE}/reconnect": http_connections.reconnected,
    f"POST {_ONE}/disconnect": http_connections.disconnected,
    f"POST {_ONE}/request": http_proxy.requested,
    **dict.fromkeys(
        [f"{method} {_ONE}/proxy/{{rest:path}}" for method in sorted(http_actions.METHODS)],
        http_proxy.passed_on,
    ),
    f"GET {_ONE}/actions": http_actions.of_connection,
    f"GET {_ONE}/actions/{{action}}": http_actions.got,
    f"POST {_ONE}/actions/{{action}}/run": http_actions.ran_there,
    "GET /actions": http_actions.listed,
    "GET /action": http_actions.got,
    "POST /action/run": http_actions.ran,
    "GET /actions/{action}": http_actions.got,
    "POST /actions/{action}/run": http_actions.ran,
    "POST /act": http_actions.acted,
    f"GET {_RUNS}": http_logs.listed,
    f"GET {_RUNS}/{{run}}": http_logs.got,
    f"GET {_RUNS}/{{run}}/details": http_logs.detailed,
}
"""Method and address, which is also the name for `fault set` → what answers it."""

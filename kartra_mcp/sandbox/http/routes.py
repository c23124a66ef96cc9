"""Route table: the paths that Membrane documents and those its JavaScript client requests."""

from __future__ import annotations

from collections.abc import Callable

from kartra_mcp.sandbox.http import actions, connections, logs, proxy, workspace
from kartra_mcp.sandbox.http.request import Call

Work = Callable[[Call], object]

_ONE = "/connections/{connection}"
_RUNS = "/action-run-logs"

ROUTES: dict[str, Work] = {
    "GET /self": workspace.get_self,
    "PATCH /self": workspace.update_self,
    "GET /search": workspace.search,
    "GET /integrations": workspace.list_integrations,
    "GET /integration": workspace.get_integration,
    "GET /integrations/{integration}": workspace.get_integration,
    "GET /integrations/{integration}/actions": actions.list_of_integration,
    "GET /integrations/{integration}/actions/{action}": actions.get_action,
    "GET /connections": connections.list_connections,
    "POST /connections": connections.create_connection,
    "POST /connections/ensure": connections.ensure_connection,
    "POST /connect": connections.connect,
    f"GET {_ONE}": connections.get_connection,
    f"PATCH {_ONE}": connections.update_connection,
    f"PUT {_ONE}": connections.update_connection,
    f"DELETE {_ONE}": connections.archive_connection,
    f"POST {_ONE}/restore": connections.restore_connection,
    f"POST {_ONE}/reconnect": connections.reconnect,
    f"POST {_ONE}/disconnect": connections.disconnect,
    f"POST {_ONE}/request": proxy.request,
    **dict.fromkeys(
        [f"{method} {_ONE}/proxy/{{rest:path}}" for method in sorted(actions.METHODS)],
        proxy.forward,
    ),
    f"GET {_ONE}/actions": actions.list_of_connection,
    f"GET {_ONE}/actions/{{action}}": actions.get_action,
    f"POST {_ONE}/actions/{{action}}/run": actions.run_action_on_connection,
    "GET /actions": actions.list_actions,
    "GET /action": actions.get_action,
    "POST /action/run": actions.run_action,
    "GET /actions/{action}": actions.get_action,
    "POST /actions/{action}/run": actions.run_action,
    "POST /act": actions.act,
    f"GET {_RUNS}": logs.list_logs,
    f"GET {_RUNS}/{{run}}": logs.get_log,
    f"GET {_RUNS}/{{run}}/details": logs.get_log_details,
}
"""Handlers by method and path, which is also the name for `fault set`."""

"""Actions, connections and the rest of the workspace over HTTP."""

from pathlib import Path

import pytest
from http_process import ADA, KARTRA, Ask

from kartra_mcp.sandbox.store import seed
from kartra_mcp.sandbox.store.database import Account


def test_actions_come_by_pages_and_the_last_has_no_cursor(api: Ask):
    seen: list[str] = []
    query = {"limit": "7", "cursor": "0"}
    while "cursor" in query:
        page = api("GET /actions", params={**KARTRA, **query})
        seen += [one["key"] for one in page["items"]]
        assert all("x-sandbox" not in one for one in page["items"])
        query = {"limit": "7"} | ({"cursor": page["cursor"]} if "cursor" in page else {})
    assert len(seen) == len(set(seen)) == 20
    for bad in ({"limit": "0"}, {"limit": "1001"}, {"cursor": "zz"}, {"intent": "x" * 201}):
        assert api("GET /actions", 400, params={**KARTRA, **bad})["key"] == "validation_error"


def test_actions_are_found(api: Ask):
    def keys(**query: str) -> list[str]:
        return [one["key"] for one in api("GET /actions", params=query)["items"]]

    assert keys(**KARTRA, intent="refund a transaction")[0] == "refund-transaction"
    assert len(keys(connectionKey="kartra", intent="lead")) == 10
    assert len(keys(intent="refund")) == 20
    assert set(keys(search="refund")) == {"refund-transaction"}
    assert len(keys(integrationKey="kartra")) == 20
    assert keys(integrationKey="other") == []
    assert api("GET /actions", 404, params={"connectionId": "none"})["key"] == "not_found"
    assert api("GET /action?key=get-lead") == api("GET /actions/get-lead")


def test_a_list_that_is_no_longer_valid_is_reported(api: Ask, live: Account, tmp_path: Path):
    file = tmp_path / "actions.json"
    file.write_text('{"actions": []}')
    live.set("actions", str(file))
    told = api("GET /actions", 500, params=KARTRA)
    assert (told["type"], "is not a list of actions" in told["message"]) == ("internal", True)


def test_older_habits_of_lists_hold_here_too(api: Ask, live: Account):
    live.set("paging", "repeat")
    one = api("GET /actions?limit=15")
    assert api(f"GET /actions?limit=15&cursor={one['cursor']}") == one
    live.set("paging", "refuse")
    assert api("GET /actions?limit=15", 400)["key"] == "validation_error"


def test_connections_are_listed_and_waited_for(api: Ask):
    made = api("POST /connections", json={"connectorId": seed.CONNECTOR, "name": "Second"})
    assert (made["state"], made["clientAction"]["type"]) == ("CLIENT_ACTION_REQUIRED", "connect")
    first = api("GET /connections?limit=1")
    rest = api(f"GET /connections?limit=1&cursor={first['cursor']}")
    assert [one["id"] for one in rest["items"]] == [made["id"]]
    assert "cursor" not in rest
    assert len(api("GET /connections?search=sec")["items"]) == 1
    assert api("GET /connections?integrationKey=none")["items"] == []
    assert api(f"GET /connections/{made['id']}")["state"] == "CLIENT_ACTION_REQUIRED"
    assert api(f"GET /connections/{made['id']}?wait=true&timeout=1")["state"] == "READY"
    assert api(f"GET /connections/{made['id']}?wait=true&timeout=61", 400)
    assert api("GET /connections/none", 404)["key"] == "not_found"


def test_connections_are_created_only_from_known_fields(api: Ask):
    assert api("POST /connections", 400, json={})["key"] == "validation_error"
    assert api("POST /connections", 404, json={"integrationKey": "none"})["key"] == "not_found"
    assert api("POST /connect", 400, json={"name": "x"})["key"] == "validation_error"
    assert api("POST /connections", json={"intent": "Kartra"})["state"] == "BUILDING"
    for bad in ("kartra", "http://127.0.0.1/x", "http://[x", ""):
        assert api("POST /connections/ensure", 400, json={"appUrl": bad})
    found = api("POST /connections/ensure", json={"appUrl": "https://app.kartra.com/login"})
    assert found["id"] == seed.CONNECTION


def test_a_connection_is_mended_changed_and_archived(api: Ask, act: Ask):
    to = f"/connections/{seed.CONNECTION}"
    assert api(f"POST {to}/disconnect")["disconnected"] is True
    error = act(400, key="get-lead", input=ADA, **KARTRA)
    assert (error["type"], error["key"]) == ("connection", "connection_is_defunct")
    mended = api("POST /connect", json=KARTRA)
    assert (mended["id"], mended["state"]) == (seed.CONNECTION, "CLIENT_ACTION_REQUIRED")
    assert api(f"POST {to}/reconnect")["id"] == seed.CONNECTION
    assert api(f"PATCH {to}", json={"name": "Shop", "key": "shop"})["key"] == "shop"
    assert api(f"DELETE {to}", 204) is None
    assert api("GET /connections")["items"] == []
    assert api(f"GET {to}")["archivedAt"]
    assert act(404, key="get-lead", **KARTRA)["key"] == "not_found"
    api(f"POST {to}/restore")
    assert [one["name"] for one in api("GET /connections")["items"]] == ["Shop"]


def test_the_rest_of_the_workspace(api: Ask):
    assert api("PATCH /self", json={"fields": {"a": 1}, "credentials": "x"})["fields"] == {"a": 1}
    assert "credentials" not in api("GET /self")
    found = api("GET /search?q=KART&elementType=connector")["items"]
    assert found[0]["element"]["id"] == seed.CONNECTOR
    for bad in ("", "q=", f"q={'x' * 201}", "q=k&elementType=none", "q=k&limit=101"):
        assert api(f"GET /search?{bad}", 400)["key"] == "validation_error"
    assert api("GET /integrations")["items"][0]["connection"]["id"] == seed.CONNECTION
    assert api(f"GET /integrations/{seed.INTEGRATION}")["key"] == "kartra"
    assert len(api("GET /integrations/kartra/actions")["items"]) == 20
    assert api("GET /integrations/none", 404)["key"] == "not_found"


@pytest.mark.parametrize("what", ["GET /flows", "GET /", "DELETE /act", "GET /connections/"])
def test_other_addresses_are_not_found(api: Ask, what: str):
    assert api(what, 404)["key"] == "not_found"

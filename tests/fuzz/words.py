"""Pieces of each format, from which inputs are made."""

from __future__ import annotations

_JSON = (b'"', b":", b",", b"{", b"}", b"[", b"]", b"null", b"true", b"-1", b"1e999", b"NaN", b"\n")
_ODD = (b"\xef\xbb\xbf", b"\\ud800", b"\xff", b"\r\n", b"\0", b"9" * 400, "\u2028".encode())

JSON_RPC = (
    *_JSON,
    *_ODD,
    b'{"jsonrpc": "2.0", "id": 1, "method": "ping"}',
    b'"jsonrpc": "2.0"',
    b'"id": ',
    b'"method": "tools/call"',
    b'"params": {',
    b'"result": {}',
)

FIELDS = (
    *("error", "errors", "type", "key", "code", "message", "data"),
    *("causedByError", "output", "actionRunId", "status", "statusCode", "headers", "body"),
    *("items", "cursor", "response", "success", "loggedIn", "actions", "cmd"),
    *("id", "logs"),
)
VALUES = (
    *(
        "Error",
        "Success",
        "250",
        "251",
        "266",
        "bad_request",
        "internal",
        "connection",
        "not_found",
    ),
    *("rate_limit_exceeded", "not_authenticated", "input_validation", "error", "success", "500"),
    *("Not logged in", "app_id=abc api_key=def", '{"status": "Error", "type": "250"}', "[[", "x"),
)
ANSWERS = (
    *_JSON,
    *_ODD,
    *(f'"{name}": '.encode() for name in FIELDS),
    *(f'"{value}"'.encode() for value in VALUES if '"' not in value),
    b"\n--stderr--\n",
    b"\x1b[31m",
    b"warning: x\n",
    rb"tok/En+9=\"\\x",
    rb"tok\/En\u002b9\u003d\"\\x",
)

FORMS = (
    *(b"actions", b"[0]", b"[]", b"[", b"]", b"[cmd]", b"cmd", b"lead", b"=", b"&", b";", b"&amp;"),
    *(b"%", b"%5B", b"%25", b"%00", b"%c3%a4", b"%ff", b"+", b".", b" ", b"\0", b"\xe2\x80\x8b"),
    *(b"a", b"0", b"999999999", b"9999999999", b"refund_transaction", b"&#99;", b"&#x110000;"),
    *(b"\\u0063", b"get_lead", b"api_key", "\u0661".encode(), "\u00b2".encode()),
)

_TOML = (
    *(b"\n", b"[", b"]", b"[[", b"]]", b"=", b".", b'"', b'"""', b"'", b"#", b"{", b"}", b","),
    *(b"1979-05-27T07:32:00Z", b"0x1F", b"inf", b"-nan", b"1e999", b"true", b"\\u0041", *_ODD),
)
POLICY = (
    *_TOML,
    *(b"[gates]\n", b"[tools]\n", b"[caps]\n", b"[caps.person]\n", b"[caps.role.approver]\n"),
    *(b"irreversible", b"destructive", b"refund", b"day_count", b"day_amount", b"mail_per_hour"),
    *(b'"deny"', b'"human"', b'"allow"', b"kartra_*", b"250", b'"999.50"', b'"\xd9\xa3"'),
)
CLIENT_TOML = (
    *_TOML,
    *(b"[mcp_servers]\n", b"[mcp_servers.kartra]\n", b"mcp_servers", b"kartra", b"kartra-mcp"),
    *(b"[mcp_servers.other]\n", b"[mcp_servers.kartra.env]\n", b"command = ", b"args = []\n"),
    *(b"[[mcp_servers]]\n", b"mcp_servers.kartra.command", b"# [mcp_servers.kartra]\n"),
)

_YAML = (
    *(b"\n", b": ", b"- ", b"  ", b"\t", b"|\n", b">-\n", b"{", b"}", b"[", b"]", b",", b"#", b"'"),
    *(b'"', b"&a", b"*a", b"<<: *a", b"!!binary ", b"!!python/name:os.system", b"---\n", b"...\n"),
    *(b"? ", b"%YAML 1.2\n", b"~", b"2001-12-14", b"0o17", b".inf", b".nan", b"1:30", b"!!set"),
    *(b"2001-99-99", b"!!int x", b"!!timestamp x", b"!!float x", b"!!bool x", *_ODD),
)
TEAM = (
    *_YAML,
    *(b"accounts:\n", b"issuers:\n", b"page: ", b"public_url: ", b"roles: ", b"approvals: "),
    *(b"https://login.example.com", b"database: postgresql://a:b@db/k", b"${HOME}"),
    *(b"up_to: 99.50", b"approvers: 2", b"audiences: ", b"membrane: ", b"writes: ", b"1e999"),
    *(b"https://[", b"https://a:99999", b"send_seconds: ", b"anchor: ", b"notify: ", b"members: "),
)
CLIENT_YAML = (
    *_YAML,
    *(b"extensions:\n", b"extensions: {}\n", b"  kartra:\n", b"    cmd: kartra-mcp\n"),
    *(b"    args: [serve]\n", b"    envs: {}\n", b"  other:\n", b"# x\n", b"extensions"),
)

CSV = (
    *(b"email", b"first_name", b"points", b"amount", b"active", b"E-Mail", b"sep=;\n", b"sep="),
    *(b",", b";", b"\t", b'"', b'""', b"\n", b"\r", b"\r\n", b" ", b"'=1", b"true", b"1.5", b"7"),
    *(b"\xff\xfe", b"\xfe\xff", b"\xfc", "ü€".encode(), b"\xc3", *_ODD, b"nan", b"1e999", b"\x85"),
)

CLIENT_JSON = (
    *_JSON,
    *_ODD,
    *(b"// x\n", b"/* x */", b"/*", b'"servers": {', b'"kartra": {', b'"command": "kartra-mcp"'),
    *(b'"args": ["serve"]', b'"env": {}', b'"other": {}', b",\n", b"\\u00", b'"type": "stdio"'),
)

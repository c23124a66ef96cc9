"""Raw requests that are refused before any program starts, by named technique."""

from __future__ import annotations

import json

SECRET = "s3cr3t-v4lue"
REFUND = {"cmd": "refund_transaction", "transaction_id": 101}
SEARCH = {"cmd": "search_lead"}


def path(text, **params):
    return {"path": text, **({"path_params": params} if params else {})}


def query(**fields):
    return {"path": "/api", "query": fields}


def header(name, value):
    return {"path": "/api", "headers": {name: value}}


def post(**body):
    return {"method": "POST", "path": "/api", **body}


def deep(levels):
    return "x" if levels == 0 else {"a": deep(levels - 1)}


NO, BAD, BIG = "forbidden_request", "invalid_arguments", "input_too_large"
HOSTILE = {
    # shapes
    "a method that is none": ({"path": "/api", "method": "TRACE"}, BAD),
    "a method in lower case": ({"path": "/api", "method": "post"}, BAD),
    "a method with a second header line": ({"path": "/", "method": "GET\r\nX: y"}, BAD),
    "no path": ({}, BAD),
    "an argument that does not exist": ({"path": "/api", "data": "x"}, BAD),
    "two bodies": (post(json={}, form={"a": 1}), BAD),
    "a body of nothing": (post(raw="  "), BAD),
    "a null for a body": (post(json=None), BAD),
    "a number in the query": ({"path": "/api", "query": {"a": 1}}, BAD),
    "a number that JavaScript rounds": (
        post(json={"actions": [{"cmd": "get_transaction_details", "transaction_id": 2**53 + 1}]}),
        NO,
    ),
    # path
    "an absolute URL": (path("https://evil.example/api"), NO),
    "a host after two slashes": (path("//evil.example/api"), NO),
    "a host after slash and backslash": (path("/\\evil.example"), NO),
    "a URL inside the path": (path("/x/https://evil.example"), NO),
    "a user before a host": (path("/@evil.example"), NO),
    "a relative path": (path("api"), NO),
    "a path like a flag": (path("--help"), NO),
    "two slashes inside": (path("/api//x"), NO),
    "dot segments": (path("/api/../admin"), NO),
    "one dot segment": (path("/./api"), NO),
    "three dots, a parent to some": (path("/api/.../x"), NO),
    "dots percent-encoded": (path("/api/%2e%2E/admin"), NO),
    "dots encoded twice": (path("/api/%252e%252e/admin"), NO),
    "dots encoded thrice": (path("/api/%25252e%25252e/admin"), NO),
    "dots as overlong UTF-8": (path("/api/%c0%ae%c0%ae/admin"), NO),
    "dots of full width": (path("/api/\uff0e\uff0e/admin"), NO),
    "dots of full width, encoded": (path("/api/%EF%BC%8E%EF%BC%8E/admin"), NO),
    "a two dot leader": (path("/api/\u2025/admin"), NO),
    "dots as IIS writes them": (path("/api/%u002e%u002e/admin"), NO),
    "dots before a matrix parameter": (path("/api/..;/admin"), NO),
    "a matrix parameter": (path("/api;v=1"), NO),
    "an encoded slash": (path("/api%2fadmin"), NO),
    "a slash encoded twice": (path("/api%252fadmin"), NO),
    "a slash of full width": (path("/api\uff0fadmin"), NO),
    "a backslash": (path("/api\\admin"), NO),
    "an encoded backslash": (path("/api%5cadmin"), NO),
    "a query in the path": (path("/api?cmd=x"), NO),
    "an encoded question mark": (path("/api%3Fcmd=x"), NO),
    "a fragment": (path("/api#x"), NO),
    "an encoded fragment": (path("/api%23x"), NO),
    "a line break in the path": (path("/api\r\nHost: evil"), NO),
    "an encoded line break": (path("/api%0d%0aHost"), NO),
    "a NUL in the path": (path("/api%00"), NO),
    "a space in the path": (path("/api x"), NO),
    "a look-alike letter in the path": (path("/\u0430pi"), NO),
    "half a character in the path": (path("/\ud800"), NO),
    "a percent sign alone": (path("/api/%"), NO),
    "a path without end": (path("/" + "a" * 2000), NO),
    "a letter encoded twice": (path("/api/%2541"), NO),
    "a sign in the path": (path("/api/*"), NO),
    # substitution
    "a value that climbs": (path("/api/{a}", a=".."), NO),
    "a value with a slash": (path("/api/{a}", a="x/y"), NO),
    "a value with an encoded slash": (path("/api/{a}", a="x%2fy"), NO),
    "a value with a backslash": (path("/api/{a}", a="x\\y"), NO),
    "a value that is empty": (path("/{a}/x", a=""), NO),
    "two values that climb together": (path("/{a}{b}", a=".", b="."), NO),
    "a value that completes a dot": (path("/.{a}", a="."), NO),
    "a value that opens a query": (path("/api/{a}", a="x?y=z"), NO),
    "a value that is a placeholder": (path("/{a}/{b}", a="{b}", b="x"), NO),
    "a value with a line break": (path("/{a}", a="x\n"), NO),
    "a placeholder without value": (path("/api/{a}"), NO),
    "a value without placeholder": (path("/api", a="x"), NO),
    "braces in braces": (path("/{{a}}", a="x"), NO),
    "a credential as a parameter": (path("/{api_key}", api_key=SECRET), NO),
    "a parameter that is a prototype": (path("/{constructor}", constructor="x"), NO),
    # headers
    "a header with a second line": (header("Accept", "a\r\nX-Evil: 1"), NO),
    "a header name with a second line": (header("Accept\r\nX-Evil", "1"), NO),
    "a header of another alphabet": (header("Accept", "\u0430"), NO),
    "a header without end": (header("Accept", "a" * 1001), NO),
    "a header without a value": (header("Accept", ""), NO),
    "a method override header": (header("X-HTTP-Method-Override", "DELETE"), NO),
    "another method override header": (header("x-http-method", "DELETE"), NO),
    "a log-in header": (header("Authorization", f"Bearer {SECRET}"), NO),
    "a key header": (header("API-Key", SECRET), NO),
    "a content type": (header("Content-Type", "application/xml"), NO),
    "a length": (header("Content-Length", "0"), NO),
    "another host": (header("Host", "evil.example"), NO),
    "a header of a proxy": (header("X-Forwarded-For", "127.0.0.1"), NO),
    "a header twice": ({"path": "/api", "headers": {"Accept": "a", "accept": "b"}}, NO),
    "a header name with a look-alike": (header("Ac\u212aept", "x"), NO),
    "a credential in a header's value": (header("X-Request-Id", f"api_key={SECRET}"), NO),
    # query
    "a credential in the query": (query(app_id=SECRET), NO),
    "a credential with a dot, as PHP reads it": (query(**{"api.key": SECRET}), NO),
    "a credential with a leading space": (query(**{" api_password": SECRET}), NO),
    "a credential inside brackets": (query(**{"x[api_key]": SECRET}), NO),
    "a credential in a value of the query": (query(x=f"1&api_key={SECRET}"), NO),
    "a password in the query": (query(password=SECRET), NO),
    "a method override in the query": (query(_method="DELETE"), NO),
    "a bare cmd in the query": (query(cmd="refund_transaction"), NO),
    "a command in a value of the query": (query(x="1&actions[0][cmd]=refund_transaction"), NO),
    "a command encoded in a value": (query(x="1%26actions[0][cmd]%3Drefund_transaction"), NO),
    "a command repeated in the query": (query(**{"actions[0][cmd]": ["search_lead", "x"]}), NO),
    "a lead repeated in the query": (query(**{"lead[id]": ["1", "2"]}), NO),
    "a get_lead repeated in the query": (query(**{"get_lead[id]": ["1", "2"]}), NO),
    "more values in the query than PHP reads": (query(a=["x"] * 1001), NO),
    "a query key that holds a pair": (query(**{"a=1&actions[0][cmd]": "x"}), NO),
    "a query key like a flag": (query(**{"-X": "DELETE"}), NO),
    "a line break in the query": (query(a="x\r\ny"), NO),
    "a query key that is a prototype": (query(__proto__="x"), NO),
    "a query without end": (query(a="x" * 8001), NO),
    "Kartra's fields in query and body": (
        {**post(form={"actions": [SEARCH]}), "query": {"lead[id]": "7"}},
        NO,
    ),
    "get_lead in the query beside a body": (
        {**post(form={"actions": [SEARCH]}), "query": {"get_lead[id]": "7"}},
        NO,
    ),
    "actions in the query beside a body": (
        {**post(json={"a": 1}), "query": {"actions[0][cmd]": "search_lead"}},
        NO,
    ),
    # JSON
    "a body of 100 kB": (post(json={"lead": {"n": "x" * 100_000}}), BIG),
    "a body of 100 kB once encoded": (post(form={"lead": {"n": "ä" * 20_000}}), BIG),
    "a raw body of 100 kB": (post(raw="a=" + "x" * 100_000), BIG),
    "JSON 33 levels deep": (post(json=deep(33)), NO),
    "raw JSON too deep to parse": (post(raw="[" * 50_000 + "]" * 50_000), NO),
    "a form 33 levels deep": (post(form=deep(33)), NO),
    "a repeated JSON key": (
        post(raw='{"actions":[{"cmd":"refund_transaction","cmd":"search_lead"}]}'),
        NO,
    ),
    "actions twice": (post(raw='{"actions":[{"cmd":"refund_transaction"}],"actions":[]}'), NO),
    "a JSON key repeated by an escape": (
        post(raw='{"actions":[{"cmd":"search_lead","\\u0063md":"refund_transaction"}]}'),
        NO,
    ),
    "NaN": (post(raw='{"actions":[{"cmd":"search_lead","n":NaN}]}'), NO),
    "a number that overflows to Infinity": (post(raw='{"lead":{"id":1e999}}'), NO),
    "half a character": (post(json={"lead": {"n": "\ud800"}}), NO),
    "a NUL in a value": (post(json={"lead": {"email": "a@b.c\0"}}), NO),
    "JSON with a comment": (post(raw='{"actions":[{"cmd":"search_lead"}]} // x=1'), NO),
    "JSON with single quotes": (post(raw="{'actions':[{'cmd':'search_lead'}]}"), NO),
    "JSON behind a byte order mark": (post(raw='\ufeff{"actions":[{"cmd":"x"}]}'), NO),
    "two JSON values": (post(raw='{"actions":[{"cmd":"search_lead"}]}{"a":1}'), NO),
    "XML": (post(raw="<cmd>refund_transaction</cmd>"), NO),
    "a text that is no body": (post(raw="hello"), NO),
    "a JSON text in JSON": (post(raw='"actions[0][cmd]=refund_transaction"'), NO),
    "a prototype as a key": (post(raw='{"__proto__":{"actions":[{"cmd":"x"}]}}'), NO),
    "brackets in a JSON key": (post(json={"actions[0][cmd]": "refund_transaction"}), NO),
    "dots in a JSON key": (post(json={"actions.0.cmd": "refund_transaction"}), NO),
    # names
    "cmd in capitals beside cmd": (
        post(json={"actions": [{**SEARCH, "CMD": "refund_transaction"}]}),
        NO,
    ),
    "Actions in capitals": (post(json={"actions": [SEARCH], "Actions": [REFUND]}), NO),
    "actions of full width": (post(json={"\uff41ctions": [REFUND]}), NO),
    "actions with a space behind": (post(json={"actions ": [REFUND]}), NO),
    "an invisible character in cmd": (post(json={"actions": [{"c\u200bmd": "x"}]}), NO),
    "a Cyrillic letter in cmd": (post(json={"actions": [{**SEARCH, "\u0441md": "x"}]}), NO),
    "cmd with a NUL behind": (post(raw="actions[0][cmd]=search_lead&cmd%00x=refund"), NO),
    "lead in capitals": (post(json={"Lead": {"id": 1}}), NO),
    "get_lead in capitals, deeper": (post(json={"lead": {"x": {"Get_lead": {"id": 1}}}}), NO),
    "get_lead in capitals": (post(json={"Get_Lead": {"email": "a"}}), NO),
    # places
    "a cmd at the top": (post(json={"cmd": "refund_transaction"}), NO),
    "a cmd in the lead": (post(json={"actions": [SEARCH], "lead": {"cmd": "x"}}), NO),
    "a cmd deeper in an action": (post(json={"actions": [{**SEARCH, "more": REFUND}]}), NO),
    "actions in a list of bodies": (post(json=[{"actions": [REFUND]}]), NO),
    "actions in actions": (post(json={"actions": [{**SEARCH, "actions": [REFUND]}]}), NO),
    "a cmd of actions itself": (post(json={"actions": {"cmd": "refund_transaction"}}), NO),
    "get_lead inside the lead": (post(json={"lead": {"get_lead": {"id": 1}}}), NO),
    "a command as a field": (post(json={"refund_transaction": {"transaction_id": 1}}), NO),
    "an unknown field beside commands": (post(json={"actions": [SEARCH], "delete_lead": 1}), NO),
    "actions as JSON in a text": (
        post(json={"actions": [SEARCH], "lead": {"n": '{"actions":[{"cmd":"x"}]}'}}),
        NO,
    ),
    "actions as a form in a text": (
        post(json={"actions": [SEARCH], "lead": {"n": "x&actions[0][cmd]=refund_transaction"}}),
        NO,
    ),
    "actions as a form, encoded thrice, in a text": (
        post(
            json={"actions": [SEARCH], "lead": {"n": "actions%25255B0%25255D%25255Bcmd%25255D=x"}}
        ),
        NO,
    ),
    "actions as HTML escapes in a text": (
        post(json={"actions": [SEARCH], "lead": {"n": "&quot;cmd&quot;:&quot;x&quot;"}}),
        NO,
    ),
    "JSON in JSON in a text": (
        post(json={"actions": [SEARCH], "lead": {"n": json.dumps(json.dumps({"\uff43md": "x"}))}}),
        NO,
    ),
    "more layers of encoding than anyone looks through": (
        post(json={"actions": [SEARCH], "lead": {"n": "%252525252563md%3Drefund_transaction"}}),
        NO,
    ),
    "actions serialised by PHP in a text": (
        post(json={"actions": [SEARCH], "lead": {"n": 'a:1:{s:3:"cmd";s:6:"refund";}'}}),
        NO,
    ),
    "actions as a text": (post(json={"actions": '[{"cmd":"refund_transaction"}]'}), NO),
    "JSON that is a form too": (
        post(raw='{"actions":[{"cmd":"search_lead"}],"x":"&actions[0][cmd]=refund_transaction&"}'),
        NO,
    ),
    # values
    "a cmd in capitals": (post(json={"actions": [{"cmd": "REFUND_TRANSACTION"}]}), NO),
    "a cmd with a space": (post(json={"actions": [{"cmd": " refund_transaction"}]}), NO),
    "a cmd with hyphens": (post(json={"actions": [{"cmd": "refund-transaction"}]}), NO),
    "a cmd of full width": (post(json={"actions": [{"cmd": "\uff52efund_transaction"}]}), NO),
    "a cmd with a Cyrillic letter": (
        post(json={"actions": [{"cmd": "refund_transacti\u043en"}]}),
        NO,
    ),
    "a cmd with an invisible character": (
        post(json={"actions": [{"cmd": "search_lead\u200b"}]}),
        NO,
    ),
    "a cmd with a NUL": (post(json={"actions": [{"cmd": "refund_transaction\0x"}]}), NO),
    "a cmd with a percent escape": (post(json={"actions": [{"cmd": "refund%5Ftransaction"}]}), NO),
    "a cmd that is a list": (post(json={"actions": [{"cmd": ["search_lead", "x"]}]}), NO),
    "a cmd that is true": (post(json={"actions": [{"cmd": True}]}), NO),
    "a cmd that is empty": (post(form={"actions": [{"cmd": None}]}), NO),
    "an action without cmd": (post(json={"actions": [{"transaction_id": 1}]}), NO),
    "an action that is a text": (post(json={"actions": ["refund_transaction"]}), NO),
    "an action under a word": (post(json={"actions": {"first": REFUND}}), NO),
    "an action under a padded number": (post(json={"actions": {"00": REFUND}}), NO),
    "51 actions": (post(json={"actions": [SEARCH] * 51}), NO),
    "actions that are a number": (post(json={"actions": 5}), NO),
    "a lead that is a list": (post(json={"actions": [SEARCH], "lead": [1]}), NO),
    "a get_lead that is a text": (post(json={"get_lead": "a@b.c"}), NO),
    # forms
    "a repeated form field, of which PHP takes the last": (
        post(raw="actions[0][cmd]=search_lead&actions[0][cmd]=refund_transaction"),
        NO,
    ),
    "a field that PHP reads as a repeated one": (
        post(raw="actions[0][cmd]=search_lead&actions[0][cmd]x=refund_transaction"),
        NO,
    ),
    "a semicolon that some take for a separator": (
        post(raw="lead[id]=1;actions[0][cmd]=refund_transaction"),
        NO,
    ),
    "an ampersand as HTML writes it": (
        post(raw="actions[0][cmd]=search_lead&amp;actions[1][cmd]=refund_transaction"),
        NO,
    ),
    "a name encoded twice": (
        post(raw="actions[0][cmd]=search_lead&actions%255B1%255D%255Bcmd%255D=refund"),
        NO,
    ),
    "an open bracket": (post(raw="actions[0][cmd]=search_lead&actions[1[cmd]=x"), NO),
    "brackets that split a cmd from its fields": (
        post(raw="actions[][cmd]=refund_transaction&actions[][transaction_id]=1"),
        NO,
    ),
    "a name with a dot that PHP mangles": (post(raw="get.lead[id]=1&cm.d=x"), NO),
    "a broken percent sequence": (post(raw="lead[id]=1%&x=2"), NO),
    "bytes that are not UTF-8": (post(raw="lead[n]=%ff"), NO),
    "an overlong bracket": (post(raw="actions%c1%9b0][cmd]=x"), NO),
    "more fields than PHP reads": (post(form={"lead": {f"f{i}": 1 for i in range(1001)}}), NO),
    "brackets in the key of a form": (post(form={"actions[0][cmd]": "refund_transaction"}), NO),
    "brackets deep in the key of a form": (post(form={"lead": {"x]&actions[0][cmd": "r"}}), NO),
    "a number without end": (post(form={"lead": {"n": float("inf")}}), NO),
    # credentials
    "a credential in JSON": (post(json={"api_key": SECRET}), NO),
    "a credential deep in JSON": (post(json={"lead": {"x": [{"app_id": SECRET}]}}), NO),
    "a credential in capitals": (post(json={"API_PASSWORD": SECRET}), NO),
    "a credential without underscore": (post(json={"apiKey": SECRET}), NO),
    "a credential of full width": (post(json={"\uff41pi_key": SECRET}), NO),
    "a credential with an invisible character": (post(json={"api\u2060_key": SECRET}), NO),
    "a credential in a form": (post(raw=f"app_id={SECRET}&lead[id]=1"), NO),
    "a credential that PHP reads from a dot": (post(raw=f"app.id={SECRET}"), NO),
    "a credential in a text": (post(json={"lead": {"n": f'{{"api_key":"{SECRET}"}}'}}), NO),
    "a method override in the body": (post(form={"_method": "DELETE"}), NO),
}

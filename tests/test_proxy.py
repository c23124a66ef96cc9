"""Raw requests: what is refused before any program starts, by named technique, and what passes."""

from __future__ import annotations

import json

import pytest

from kartra_mcp.core.errors import RefusedError
from kartra_mcp.core.models import Command
from kartra_mcp.kartra.request_body import TREE_RULES
from kartra_mcp.kartra.request_guard import (
    HEADER_RULES,
    PARAM_RULES,
    PATH_RULES,
    QUERY_RULES,
    parse_request,
    reject_dedicated_commands,
    require_read_only,
)
from kartra_mcp.kartra.request_schema import READ_SCHEMA, WRITE_SCHEMA

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


def refusal(arguments, *judges):
    def judged():
        request = parse_request(arguments)
        for judge in judges:
            judge(request)

    with pytest.raises(RefusedError) as caught:
        judged()
    return caught.value


@pytest.mark.parametrize(("arguments", "code"), HOSTILE.values(), ids=HOSTILE)
def test_refused_with_its_code_a_remedy_and_no_secret(arguments, code):
    error = refusal(arguments)
    told = json.dumps(error.as_dict())
    assert error.code == code
    assert error.executed == "no"
    assert "Nothing was sent." in error.message
    assert error.remedy
    assert SECRET not in told
    assert error.message.isprintable()
    assert len(error.message) < 500


def test_every_rule_refuses_a_request_of_the_table():
    tables = {
        "path": PATH_RULES,
        "path_params": PARAM_RULES,
        "headers": HEADER_RULES,
        "query": QUERY_RULES,
        "body": TREE_RULES,
    }
    broken: set[tuple[str, str]] = set()
    for arguments, _ in HOSTILE.values():
        place, found, rule = refusal(arguments).message.partition(" breaks a rule: ")
        if found:
            broken.add((place.partition(".")[0], rule.removesuffix(". Nothing was sent.")))
    assert {(place, rule.name) for place, table in tables.items() for rule in table} <= broken


PLACES = {
    "the path": (path("/api//x"), "path breaks"),
    "the path after substitution": (
        path("/{a}" * 5, a="x" * 500),
        "path with path_params breaks",
    ),
    "a parameter": (path("/{a}", a="x/y"), "path_params.a breaks"),
    "a header": (header("Host", "x"), "headers.Host breaks"),
    "all headers": ({"path": "/api", "headers": {"Accept": "a", "accept": "b"}}, "headers breaks"),
    "a field of the query": (query(**{"-X": "1"}), "query.-X breaks"),
    "a field of the body": (post(json={"lead": {"cmd": "x"}}), "body.lead.cmd breaks"),
    "an entry of a list": (post(json={"actions": [SEARCH, {}]}), "body.actions.1 breaks"),
    "a key of raw JSON": (post(raw='{"a":{"b":1,"b":2}}'), "raw.b:"),
    "a repeated field of a form": (post(raw="a[b][c]=1&a[b][c]=2"), "raw.a[b][c]:"),
    "a repeated field in a numbered list": (post(raw="a[][c]=1&a[0][c]=2"), "raw.a[0][c]:"),
}
ACCEPTED = {
    "a GET without a body": (path("/api"), None, ()),
    "the longest path": (path("/" + "a" * 1999), None, ()),
    "the longest header": (header("Accept", "a" * 1000), None, ()),
    "the longest query": (query(a="x" * 7997), None, ()),
    "the largest number of values in the query": (query(a=["x"] * 1000), None, ()),
    "an object as JSON": (
        post(json={"actions": [{"cmd": "assign_tag", "tag_name": "VIP"}], "lead": {"id": 7}}),
        '{"actions":[{"cmd":"assign_tag","tag_name":"VIP"}],"lead":{"id":7}}',
        (Command("assign_tag", {"tag_name": "VIP"}, {"id": 7}),),
    ),
    "the same as a form": (
        post(form={"actions": [{"cmd": "assign_tag", "tag_name": "VIP"}], "lead": {"id": 7}}),
        "actions%5B0%5D%5Bcmd%5D=assign_tag&actions%5B0%5D%5Btag_name%5D=VIP&lead%5Bid%5D=7",
        (Command("assign_tag", {"tag_name": "VIP"}, {"id": "7"}),),
    ),
    "the same as raw JSON": (
        post(raw=' {"actions": [{"cmd": "assign_tag", "tag_name": "\\u0056IP"}]} '),
        '{"actions":[{"cmd":"assign_tag","tag_name":"VIP"}]}',
        (Command("assign_tag", {"tag_name": "VIP"}),),
    ),
    "the same as a raw form": (
        post(raw="actions[][cmd]=assign_tag&&actions%5B0%5D[tag_name]=V+I%50"),
        "actions%5B0%5D%5Bcmd%5D=assign_tag&actions%5B0%5D%5Btag_name%5D=V%20IP",
        (Command("assign_tag", {"tag_name": "V IP"}),),
    ),
    "get_lead, which has no cmd": (
        post(form={"get_lead": {"email": "a@b.c"}}),
        "get_lead%5Bemail%5D=a%40b.c",
        (Command("get_lead", {"email": "a@b.c"}),),
    ),
    "actions with gaps": (
        post(json={"actions": {"5": SEARCH, "9": REFUND}}),
        '{"actions":{"5":{"cmd":"search_lead"},"9":{"cmd":"refund_transaction","transaction_id":101}}}',
        (Command("search_lead"), Command("refund_transaction", {"transaction_id": 101})),
    ),
    "an unknown command": (
        post(json={"actions": [{"cmd": "frobnicate"}]}),
        '{"actions":[{"cmd":"frobnicate"}]}',
        (Command("frobnicate"),),
    ),
    "a command in the query": (
        query(**{"actions[0][cmd]": "search_lead"}),
        None,
        (Command("search_lead"),),
    ),
    "a body without commands": (post(json={"a": [1, 2**53]}), None, ()),
    "a list as a body": (post(json=[1, {"a": None}]), '[1,{"a":null}]', ()),
    "text of people": (
        post(json={"lead": {"n": "Tom & “Zoë” said: 100% cmd, {ok} 👩‍👩‍👧; see actions, a=b\n"}}),
        None,
        (),
    ),
    "32 levels": (post(json=deep(32)), None, ()),
    "the largest number of actions": (
        post(json={"actions": [SEARCH] * 50}),
        None,
        (Command("search_lead"),) * 50,
    ),
}


@pytest.mark.parametrize(("arguments", "start"), PLACES.values(), ids=PLACES)
def test_a_refusal_names_the_place(arguments, start):
    assert refusal(arguments).message.startswith(start)


@pytest.mark.parametrize(("arguments", "body", "commands"), ACCEPTED.values(), ids=ACCEPTED)
def test_accepted_with_its_exact_body_and_commands(arguments, body, commands):
    request = parse_request(arguments)
    assert request.commands == commands
    if body is not None:
        assert request.body == body


def test_everything_membrane_offers_is_carried():
    request = parse_request(
        {
            "method": "PATCH",
            "path": "/v1/{kind}/{id}",
            "path_params": {"kind": "leads", "id": "7"},
            "query": {"tag": ["a", "b"], "page": "2"},
            "headers": {"accept-language": "en", "X-REQUEST-ID": "r-1"},
            "form": {"name": "Zoë"},
        }
    )
    assert request.method == "PATCH"
    assert (request.path, request.path_params) == ("/v1/{kind}/{id}", {"kind": "leads", "id": "7"})
    assert request.query == (("tag", "a"), ("tag", "b"), ("page", "2"))
    assert request.headers == {"Accept-Language": "en", "X-Request-Id": "r-1"}
    assert (request.body, request.content_type) == (
        "name=Zo%C3%AB",
        "application/x-www-form-urlencoded",
    )


def test_the_content_type_is_that_of_the_body():
    assert parse_request(post(json={})).content_type == "application/json"
    assert parse_request(post(raw="{}")).content_type == "application/json"
    assert parse_request(post(raw="a=1")).content_type == "application/x-www-form-urlencoded"
    assert not parse_request(post()).content_type


def test_the_first_five_wrong_fields_are_named_and_the_rest_counted():
    error = refusal({"method": 1, "path": 2, "query": 3, "headers": 4, "json": 5, "form": 6})
    for name in ("method", "path", "query", "headers", "json"):
        assert f"{name}: expected" in error.message
    assert "and 2 more" in error.message
    five = refusal({"path": 2, "query": 3, "headers": 4, "json": 5, "method": 1})
    assert "more" not in five.message
    six = refusal({"path": 2, "query": 3, "headers": 4, "json": 5, "method": 1, "x": 6})
    assert "and 1 more" in six.message


READS = {
    "a GET without a body": path("/api"),
    "a GET with a query": query(page="1"),
    "a GET with a read in the query": query(**{"get_lead[id]": "7"}),
    "a POST of one read": post(json={"actions": [SEARCH], "lead": {"id": 7}}),
    "a POST of several reads": post(
        form={"get_lead": {"id": 7}, "actions": [SEARCH, {"cmd": "retrieve_account_tags"}]}
    ),
    "a POST with a read in the query": {"method": "POST", **query(**{"get_lead[id]": "7"})},
}
NO_READS = {
    "a write": post(json={"actions": [{"cmd": "assign_tag", "tag_name": "x"}]}),
    "a write behind a read": post(json={"actions": [SEARCH, REFUND]}),
    "a write in a gap": post(json={"actions": {"0": SEARCH, "99": REFUND}}),
    "an unknown command": post(json={"actions": [{"cmd": "frobnicate"}]}),
    "a body without commands": post(json={"lead": {"id": 7}}),
    "no actions": post(json={"actions": []}),
    "a POST without a body": post(),
    "a GET with a body": {"path": "/api", "form": {"get_lead": {"id": 7}}},
    "a GET with a write in the query": query(**{"actions[0][cmd]": "assign_tag"}),
    "a PUT": {"path": "/api", "method": "PUT"},
    "a PATCH of reads": {"path": "/api", "method": "PATCH", "json": {"actions": [SEARCH]}},
    "a DELETE": {"path": "/api", "method": "DELETE"},
}


@pytest.mark.parametrize("arguments", READS.values(), ids=READS)
def test_the_read_tool_passes(arguments):
    require_read_only(parse_request(arguments))


@pytest.mark.parametrize("arguments", NO_READS.values(), ids=NO_READS)
def test_the_read_tool_refuses(arguments):
    parse_request(arguments)
    error = refusal(arguments, require_read_only)
    assert error.code == "forbidden_request"
    own = "kartra_refund_transaction" if "refund_" in str(arguments) else "kartra_proxy_write"
    assert own in error.remedy or "POST" in error.remedy


def status(value):
    return {"cmd": "modify_subscription_status", "subscription_status_modification": value}


OWN = {
    "a refund": (REFUND, "kartra_refund_transaction"),
    "a cancellation": ({"cmd": "cancel_transaction"}, "kartra_cancel_subscription"),
    "a status of cancel": (status("cancel"), "kartra_cancel_subscription"),
    "a status of Cancel": (status(" Cancel\n"), "kartra_cancel_subscription"),
    "a status nobody knows": (status("stop"), "kartra_cancel_subscription"),
    "a status that only looks like pause": (status("Pause"), "kartra_cancel_subscription"),
    "a status that is a list": (status(["pause"]), "kartra_cancel_subscription"),
    "a status that is null": (status(None), "kartra_cancel_subscription"),
    "no status": ({"cmd": "modify_subscription_status"}, "kartra_cancel_subscription"),
    "an unknown refund": ({"cmd": "refund"}, "kartra_refund_transaction"),
    "an unknown refund, in camel case": ({"cmd": "refundOrder"}, "kartra_refund_transaction"),
    "an unknown refund inside a word": ({"cmd": "autorefund_lead"}, "kartra_refund_transaction"),
    "an unknown cancellation": ({"cmd": "doCancelPlan"}, "kartra_cancel_subscription"),
}


@pytest.mark.parametrize(("action", "tool"), OWN.values(), ids=OWN)
@pytest.mark.parametrize("kind", ["json", "form"])
def test_the_write_tool_points_to_the_tool_that_asks(action, tool, kind):
    error = refusal(post(**{kind: {"actions": [SEARCH, action]}}), reject_dedicated_commands)
    assert error.code == "forbidden_request"
    assert tool in error.remedy


@pytest.mark.parametrize("word", ["pause", "unpause"])
def test_the_write_tool_carries_what_can_be_taken_back(word):
    reject_dedicated_commands(parse_request(post(json={"actions": [status(word)]})))
    reject_dedicated_commands(parse_request(post(form={"actions": [{"cmd": "assign_tag"}]})))
    reject_dedicated_commands(parse_request(post(form={"actions": [{"cmd": "calendar_cancel"}]})))


def test_names_of_strangers_are_cut_and_cleaned():
    error = refusal({"path": "/api", "a\x1b[31m\u202e" + "b" * 400: 1})
    assert "\x1b" not in error.message
    assert "\u202e" not in error.message
    assert len(error.message) < 200


@pytest.mark.parametrize("schema", [READ_SCHEMA, WRITE_SCHEMA], ids=["read", "write"])
def test_the_schemas_are_small_and_plain(schema):
    assert schema["type"] == "object"
    assert schema["required"] == ["path"]
    assert not {"anyOf", "oneOf", "allOf", "not"} & set(schema)
    assert len(json.dumps(schema, ensure_ascii=False)) < 1600

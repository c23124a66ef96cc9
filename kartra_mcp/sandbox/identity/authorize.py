"""The authorization endpoint: the form that lists the test people, sessions, and the response."""

from __future__ import annotations

import secrets
from html import escape
from urllib.parse import parse_qsl, urlencode, urlsplit

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from kartra_mcp.sandbox.identity.people import OAuthClient, Person
from kartra_mcp.sandbox.identity.provider import ACR, CODE_SECONDS, Grant, IdentityProvider

COOKIE = "idp_session"
_LOOPBACK = {"127.0.0.1", "localhost", "::1"}
_STYLE = (
    "body{font:16px system-ui;max-width:26rem;margin:3rem auto;padding:0 1rem;color-scheme:light "
    "dark}button{display:block;width:100%;margin:.5rem 0;padding:.7rem;font:inherit;text-align:"
    "left;cursor:pointer}small{opacity:.7}"
)


class Refused(Exception):
    """The request is answered here, never by a redirect to an address that is not registered."""


async def authorize(provider: IdentityProvider, request: Request) -> Response:
    """Log a person in: by `login_hint`, by the session, or by the form."""
    fields = {name: request.query_params[name] for name in request.query_params}
    try:
        client = _check(provider, fields)
    except Refused as problem:
        return _page("Not a valid request", f"<p>{escape(str(problem))}</p>", 400)
    problem = _find_error(fields)
    if problem:
        return _redirect(provider, fields, {"error": problem})
    hinted = provider.people.get(fields.get("login_hint", ""))
    if hinted is not None and fields.get("prompt") != "none":
        return _log_in(provider, client, fields, hinted)
    session = provider.sessions.get(request.cookies.get(COOKIE, ""))
    if session is not None and _is_fresh(provider, session[1], fields):
        return _respond(provider, client, fields, *session)
    if fields.get("prompt") == "none":
        return _redirect(provider, fields, {"error": "login_required"})
    return _form(provider, fields)


async def log_in(provider: IdentityProvider, request: Request) -> Response:
    """Handle the form: the person who was chosen, and the request that it came with."""
    given = dict(parse_qsl((await request.body()).decode("utf-8", "replace")))
    fields = dict(parse_qsl(given.get("request", "")))
    try:
        client = _check(provider, fields)
        person = provider.people[given.get("login", "")]
    except (Refused, KeyError):
        return _page("Not a valid request", "<p>Start again.</p>", 400)
    if given.get("cancel"):
        return _redirect(provider, fields, {"error": "access_denied"})
    return _log_in(provider, client, fields, person)


def log_out(provider: IdentityProvider, request: Request) -> Response:
    provider.sessions.pop(request.cookies.get(COOKIE, ""), None)
    response = _page("Logged out", "<p>You can close this window.</p>")
    response.delete_cookie(COOKIE)
    return response


def _check(provider: IdentityProvider, fields: dict[str, str]) -> OAuthClient:
    client = provider.clients.get(fields.get("client_id", ""))
    if client is None:
        raise Refused("The client is not registered.")
    address = fields.get("redirect_uri", "")
    if client.redirect_uris is not None and address not in client.redirect_uris:
        raise Refused("The redirect_uri is not one of the client's.")
    parts = urlsplit(address)
    safe = parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _LOOPBACK)
    if not safe or parts.fragment:
        raise Refused("The redirect_uri is not https, or http on this machine.")
    return client


def _find_error(fields: dict[str, str]) -> str:
    if fields.get("response_type") != "code":
        return "unsupported_response_type"
    challenge = fields.get("code_challenge", "")
    if fields.get("code_challenge_method") != "S256" or len(challenge) != 43:
        return "invalid_request"
    max_age = fields.get("max_age", "0")
    return "" if max_age.isdecimal() else "invalid_request"


def _is_fresh(provider: IdentityProvider, auth_time: int, fields: dict[str, str]) -> bool:
    if fields.get("prompt") in {"login", "select_account"}:
        return False
    return "max_age" not in fields or provider.clock() - auth_time < int(fields["max_age"])


def _log_in(
    provider: IdentityProvider, client: OAuthClient, fields: dict[str, str], person: Person
) -> Response:
    now = int(provider.clock())
    response = _respond(provider, client, fields, person, now)
    session = provider.remember(person.login)
    response.set_cookie(COOKIE, session, httponly=True, samesite="lax")
    return response


def _respond(
    provider: IdentityProvider,
    client: OAuthClient,
    fields: dict[str, str],
    person: Person,
    auth_time: int,
) -> Response:
    code = secrets.token_urlsafe(24)
    provider.codes[code] = Grant(
        person=person,
        client=client,
        scopes=tuple(fields.get("scope", "").split()),
        audience=fields.get("resource", fields.get("audience", "")),
        auth_time=auth_time,
        nonce=fields.get("nonce", ""),
        acr=(fields.get("acr_values", "").split() or [ACR])[0],
        redirect_uri=fields["redirect_uri"],
        challenge=fields["code_challenge"],
        ends=provider.clock() + CODE_SECONDS,
    )
    return _redirect(provider, fields, {"code": code})


def _redirect(
    provider: IdentityProvider, fields: dict[str, str], result: dict[str, str]
) -> Response:
    answer = dict(result)
    if "state" in fields:
        answer["state"] = fields["state"]
    issuer = provider.faults.response_issuer
    if issuer != "":
        answer["iss"] = provider.issuer if issuer is None else issuer
    address = fields["redirect_uri"]
    mark = "&" if urlsplit(address).query else "?"
    return RedirectResponse(f"{address}{mark}{urlencode(answer)}", 303)


def _form(provider: IdentityProvider, fields: dict[str, str]) -> Response:
    request = escape(urlencode(fields))
    buttons = "".join(
        f'<button name="login" value="{escape(one.login)}">{escape(one.name)}'
        f"<br><small>{escape(', '.join(one.groups) or 'no group')}</small></button>"
        for one in provider.people.values()
    )
    return _page(
        "Log in as a test person",
        f'<form method="post" action="/login"><input type="hidden" name="request" '
        f'value="{request}">{buttons}</form>',
    )


def _page(title: str, content: str, status: int = 200) -> HTMLResponse:
    html = (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" '
        f'content="width=device-width"><link rel="icon" href="data:,"><title>{title}</title>'
        f"<style>{_STYLE}</style>"
        f"<main><h1>{title}</h1>{content}</main></html>"
    )
    return HTMLResponse(html, status, {"Cache-Control": "no-store"})

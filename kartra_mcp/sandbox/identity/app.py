"""Routes of the stand-in, its documents, and their faults."""

from __future__ import annotations

import json
import secrets
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Route

from kartra_mcp.sandbox.identity import authorize, grants
from kartra_mcp.sandbox.identity.people import OAuthClient
from kartra_mcp.sandbox.identity.provider import DEFAULT_SCOPES, DocumentFault, IdentityProvider

Handler = Callable[[IdentityProvider, Request], Awaitable[Response]]
_BLOCK, _BLOCKS = b" " * 65_536, 256


def make_application(provider: IdentityProvider) -> Starlette:
    def route(path: str, handler: Handler, *methods: str) -> Route:
        async def answer(request: Request) -> Response:
            provider.requests[path] = provider.requests.get(path, 0) + 1
            return await handler(provider, request)

        return Route(path, answer, methods=list(methods))

    return Starlette(
        routes=[
            route("/.well-known/openid-configuration", _show_discovery, "GET"),
            route("/.well-known/oauth-authorization-server", _show_discovery, "GET"),
            route("/jwks", _show_keys, "GET"),
            route("/authorize", authorize.authorize, "GET"),
            route("/login", authorize.log_in, "POST"),
            route("/logout", _log_out, "GET"),
            route("/token", grants.issue_tokens, "POST"),
            route("/userinfo", grants.show_user, "GET"),
            route("/register", _register, "POST"),
        ]
    )


async def _show_discovery(provider: IdentityProvider, request: Request) -> Response:
    issuer = provider.issuer
    document = {
        "issuer": issuer,
        "jwks_uri": f"{issuer}/jwks",
        "authorization_endpoint": f"{issuer}/authorize",
        "token_endpoint": f"{issuer}/token",
        "userinfo_endpoint": f"{issuer}/userinfo",
        "registration_endpoint": f"{issuer}/register",
        "end_session_endpoint": f"{issuer}/logout",
        "response_types_supported": ["code"],
        "grant_types_supported": ["authorization_code", "refresh_token", "client_credentials"],
        "subject_types_supported": ["public"],
        "scopes_supported": ["openid", "profile", *DEFAULT_SCOPES],
        "code_challenge_methods_supported": ["S256"],
        "token_endpoint_auth_methods_supported": [
            *("client_secret_basic", "client_secret_post", "none")
        ],
        "id_token_signing_alg_values_supported": ["RS256", "ES256"],
        "authorization_response_iss_parameter_supported": True,
        **provider.faults.discovery_fields,
    }
    shown = {name: value for name, value in document.items() if value is not None}
    return await _answer(request, provider.faults.discovery, shown)


async def _show_keys(provider: IdentityProvider, request: Request) -> Response:
    keys = [key.as_jwk() for key in provider.keys]
    return await _answer(request, provider.faults.keys, {"keys": keys})


async def _log_out(provider: IdentityProvider, request: Request) -> Response:
    return authorize.log_out(provider, request)


async def _register(provider: IdentityProvider, request: Request) -> Response:
    """Register a public client (RFC 7591), as MCP clients do that have no client id."""
    try:
        given = json.loads(await request.body())
        addresses = tuple(str(one) for one in given["redirect_uris"])
    except (ValueError, KeyError, TypeError):
        return JSONResponse({"error": "invalid_client_metadata"}, 400)
    client = OAuthClient(f"client-{secrets.token_hex(8)}", redirect_uris=addresses)
    provider.clients[client.id] = client
    answer: dict[str, Any] = {
        **given,
        "client_id": client.id,
        "token_endpoint_auth_method": "none",
        "grant_types": ["authorization_code", "refresh_token"],
    }
    return JSONResponse(answer, 201)


async def _answer(request: Request, fault: DocumentFault, document: dict[str, Any]) -> Response:
    if fault == "slow":
        while (await request.receive())["type"] != "http.disconnect":
            pass
        return Response()
    answers: dict[DocumentFault, Callable[[], Response]] = {
        "": lambda: JSONResponse(document),
        "down": lambda: Response(status_code=503),
        "huge": lambda: StreamingResponse(_write_huge(), media_type="application/json"),
        "garbage": lambda: Response("<html>Sign in</html>", media_type="text/html"),
        "empty": lambda: JSONResponse({}),
        "list": lambda: JSONResponse([document]),
        "redirect": lambda: RedirectResponse("/jwks"),
    }
    return answers[fault]()


async def _write_huge() -> AsyncGenerator[bytes]:
    yield b"{"
    for _ in range(_BLOCKS):
        yield _BLOCK
    yield b"}"

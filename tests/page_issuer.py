"""An issuer for tests of the page's login: it signs what a test wants, also what is wrong."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit

import jwt
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from jwt.algorithms import RSAAlgorithm

CLIENT_ID = "kartra-page"
_KEY = generate_private_key(65537, 2048)


@dataclass
class Issuer:
    """The issuer. `claims` are merged over those of the next ID tokens, `response` over callbacks.

    `requests` are the authorization requests; `accept_any_verifier` leaves PKCE out;
    `browser_user` is who logs in with a browser, the groups, and
    the age of the authentication.
    """

    address: str
    claims: dict[str, Any] = field(default_factory=dict)
    response: dict[str, str | None] = field(default_factory=dict)
    requests: list[dict[str, str]] = field(default_factory=list)
    codes: dict[str, dict[str, Any]] = field(default_factory=dict)
    accept_any_verifier: bool = False
    is_down: bool = False
    clock: Callable[[], float] = time.time
    browser_user: tuple[str, list[str], float] = ("", [], 0.0)

    def authorize(self, address: str, user: str, groups: list[str], age: float = 0) -> str:
        """Return the callback to which the user is sent after a login `age` seconds ago."""
        parts = urlsplit(address)
        assert f"{parts.scheme}://{parts.netloc}" == self.address
        asked = dict(parse_qsl(parts.query))
        self.requests.append(asked)
        code, now = secrets.token_urlsafe(16), self.clock()
        if asked.get("prompt") == "login" and age > 60:
            age = 0
        self.codes[code] = {
            "challenge": asked["code_challenge"],
            "claims": {
                "iss": self.address,
                "sub": user,
                "name": user,
                "aud": asked["client_id"],
                "nonce": asked["nonce"],
                "iat": int(now),
                "exp": int(now) + 300,
                "auth_time": int(now - age),
                "groups": groups,
                **self.claims,
            },
        }
        answer = {"code": code, "state": asked["state"], "iss": self.address, **self.response}
        kept = {name: value for name, value in answer.items() if value is not None}
        return f"{asked['redirect_uri']}?{urlencode(kept)}"

    def document(self, path: str) -> Any:
        if path == "/.well-known/openid-configuration":
            return {
                "issuer": self.address,
                "authorization_endpoint": f"{self.address}/authorize",
                "token_endpoint": f"{self.address}/token",
                "jwks_uri": f"{self.address}/jwks",
                "authorization_response_iss_parameter_supported": True,
                "token_endpoint_auth_methods_supported": ["client_secret_basic"],
            }
        key = json.loads(RSAAlgorithm.to_jwk(_KEY.public_key()))
        return {"keys": [{**key, "kid": "1", "alg": "RS256", "use": "sig"}]}

    def redeem(self, form: dict[str, list[str]]) -> tuple[int, Any]:
        found = self.codes.pop(form.get("code", [""])[0], None)
        verifier = form.get("code_verifier", [""])[0]
        digest = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest())
        matches = found is not None and found["challenge"] == digest.rstrip(b"=").decode()
        if found is None or not (matches or self.accept_any_verifier):
            return 400, {"error": "invalid_grant"}
        token = jwt.encode(found["claims"], _KEY, "RS256", {"kid": "1"})
        return 200, {"access_token": "x", "token_type": "Bearer", "id_token": token}


@contextmanager
def serving_issuer() -> Generator[Issuer]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if urlsplit(self.path).path == "/authorize":  # for a browser, which chooses the user
                self._choose_user()
                return
            self._answer(200, issuer.document(self.path))

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"])).decode()
            self._answer(*issuer.redeem(parse_qs(body)))

        def _choose_user(self) -> None:
            self.send_response(303)
            target = issuer.authorize(f"{issuer.address}{self.path}", *issuer.browser_user)
            self.send_header("location", target)
            self.end_headers()

        def _answer(self, status: int, document: Any) -> None:
            content = json.dumps(document).encode()
            self.send_response(503 if issuer.is_down else status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            """Print nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    issuer = Issuer(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield issuer
    finally:
        server.shutdown()
        thread.join()
        server.server_close()

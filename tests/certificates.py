"""The certificates that the machine trusts, loaded once: each new HTTP client would load them.

Loading takes 20 ms of the processor, many times as much as a request to this machine.
"""

from __future__ import annotations

import os
import ssl
from functools import cache

import httpcore2


def share_certificates() -> None:
    """Let all clients of `httpx2` in this process share a context, by what it is loaded from."""
    load = httpcore2.default_ssl_context

    @cache
    def load_once(trust_env: bool, *_places: str | None) -> ssl.SSLContext:  # noqa: FBT001  httpcore2's own
        return load(_trust_env=trust_env)

    def share(*, _trust_env: bool = True) -> ssl.SSLContext:
        places = (os.environ.get(name) for name in ("SSL_CERT_FILE", "SSL_CERT_DIR"))
        return load_once(_trust_env, *places)

    httpcore2.default_ssl_context = share

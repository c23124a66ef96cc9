"""RFC 3161 timestamps of a head: one request to the authority, and the checks of its response."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kartra_mcp.core.errors import RefusedError, UpstreamError
from kartra_mcp.core.files import read_small_file
from kartra_mcp.core.models import Executed
from kartra_mcp.ledger.hash_chain import Head
from kartra_mcp.team.addresses import is_loopback
from kartra_mcp.team.anchor_folder import MAX_RECEIPT_BYTES
from kartra_mcp.team.offline_verifier import anchor_message, read_timestamp

if TYPE_CHECKING:
    from rfc3161_client import TimeStampRequest

TIMEOUT = 20.0
"""Seconds for the authority's answer."""
MAX_CERTIFICATE_BYTES = 64 * 1024
_TYPES = {
    "Content-Type": "application/timestamp-query",
    "Accept": "application/timestamp-reply",
}
_OK = 200


@dataclass(frozen=True, slots=True)
class TimestampAuthority:
    """A timestamp authority. Without its root certificate its signature is not checked."""

    url: str
    root_certificate: Path | None = None

    def stamp(self, head: Head) -> bytes:
        """Return the authority's response for the hash of an entry.

        Raises:
            RefusedError: a package or the root certificate is missing.
            UpstreamError: there is no response, or it is not one for this hash.
        """
        message = anchor_message(head.count, head.hash)
        request = _make_request(message)
        content = self._exchange(request.as_bytes())
        try:
            self._check(content, request, message)
        except ValueError as problem:
            raise _failed(f"its response is not usable: {problem}") from problem
        return content

    def _exchange(self, query: bytes) -> bytes:
        import httpx2

        # An address on this machine must not be sent to a proxy.
        trust = not is_loopback(self.url)
        try:
            with (
                httpx2.Client(timeout=TIMEOUT, trust_env=trust, follow_redirects=False) as client,
                client.stream("POST", self.url, content=query, headers=_TYPES) as response,
            ):
                if response.status_code != _OK:
                    raise _failed(f"it answered with status {response.status_code}")
                return _read_limited(response)
        except httpx2.HTTPError as problem:
            raise _failed(f"{type(problem).__name__}") from problem

    def _check(self, content: bytes, request: TimeStampRequest, message: bytes) -> None:
        """Raise ValueError unless the response is a granted timestamp of this message."""
        from rfc3161_client import VerificationError, VerifierBuilder, decode_timestamp_response

        try:
            response = decode_timestamp_response(content)
            imprint, _ = read_timestamp(content)
        except (ValueError, IndexError):
            raise ValueError("it is not a timestamp of RFC 3161, or it refused") from None
        if response.status:
            raise ValueError(f"it refused, with status {response.status}")
        if imprint != hashlib.sha256(message).digest():
            raise ValueError("it is for another hash")
        if response.tst_info.nonce != request.nonce:
            raise ValueError("it has another nonce: it may be an old one")
        if self.root_certificate is None:
            return
        builder = VerifierBuilder.from_request(request)
        for certificate in _read_certificates(self.root_certificate):
            builder = builder.add_root_certificate(certificate)
        try:
            builder.build().verify_message(response, message)
        except VerificationError as problem:
            raise ValueError("its signature is not of that root certificate") from problem


def _make_request(message: bytes) -> TimeStampRequest:
    try:
        from rfc3161_client import HashAlgorithm, TimestampRequestBuilder
    except ImportError as problem:
        raise not_installed_error() from problem
    return TimestampRequestBuilder(data=message, hash_algorithm=HashAlgorithm.SHA256).build()


def not_installed_error() -> RefusedError:
    return RefusedError(
        "invalid_arguments",
        "The team's packages are not installed. Nothing was done.",
        "Install them: pip install 'kartra-mcp[team]'.",
    )


def _read_limited(response: Any) -> bytes:
    content = b""
    for part in response.iter_bytes():
        content += part
        if len(content) > MAX_RECEIPT_BYTES:
            raise _failed("its response is too large")
    return content


def _read_certificates(file: Path) -> list[Any]:
    from cryptography.x509 import load_pem_x509_certificates

    try:
        return load_pem_x509_certificates(read_small_file(file, MAX_CERTIFICATE_BYTES))
    except (OSError, ValueError) as problem:
        raise RefusedError(
            "invalid_arguments",
            f"{file} is not a file of PEM certificates. Nothing was anchored.",
            "Correct anchor.root_certificate in the team file.",
        ) from problem


def _failed(why: str) -> UpstreamError:
    return UpstreamError(
        "unreadable_answer",
        f"The timestamp authority gave no timestamp: {why}. No timestamp was stored.",
        "Check anchor.url in the team file, then run `kartra-mcp team anchor` again.",
        executed=Executed.NO,
    )

"""A timestamp authority on this machine: RFC 3161 over HTTP, with a root certificate of its own.

Faults that a test sets: another status, an old response, a response for another hash, garbage.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import threading
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from kartra_mcp.team.offline_verifier import list_elements

SHA256 = bytes.fromhex("300d06096086480165030402010500")
ECDSA = bytes.fromhex("300a06082a8648ce3d040302")
SIGNED_DATA, TST_INFO = "2a864886f70d010702", "2a864886f70d0109100104"
CONTENT_TYPE, MESSAGE_DIGEST = "2a864886f70d010903", "2a864886f70d010904"
SIGNING_CERTIFICATE = "2a864886f70d010910022f"
POLICY = "2a030401"


def der(tag: int, *parts: bytes) -> bytes:
    content = b"".join(parts)
    size = len(content)
    if size < 0x80:
        return bytes([tag, size]) + content
    length = size.to_bytes((size.bit_length() + 7) // 8)
    return bytes([tag, 0x80 | len(length)]) + length + content


def sequence(*parts: bytes) -> bytes:
    return der(0x30, *parts)


def set_of(*parts: bytes) -> bytes:
    return der(0x31, *sorted(parts))


def oid(text: str) -> bytes:
    return der(0x06, bytes.fromhex(text))


def integer(value: int) -> bytes:
    return der(0x02, value.to_bytes(value.bit_length() // 8 + 1))


def octets(content: bytes) -> bytes:
    return der(0x04, content)


def make_certificate(
    name: str, key: ec.EllipticCurvePrivateKey, signer: ec.EllipticCurvePrivateKey, *, is_root: bool
) -> x509.Certificate:
    def named(text: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])

    now = dt.datetime.now(dt.UTC)
    usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.TIME_STAMPING])
    built = (
        x509.CertificateBuilder()
        .subject_name(named(name))
        .issuer_name(named("root"))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.BasicConstraints(is_root, None), critical=True)
    )
    if not is_root:
        built = built.add_extension(usage, critical=True)
    return built.sign(signer, hashes.SHA256())


@dataclass
class Authority:
    """Signs what it is asked to, and counts; `fault` is what goes wrong."""

    fault: str = ""
    url: str = ""
    requests: int = 0
    _root_key: ec.EllipticCurvePrivateKey = field(
        default_factory=lambda: ec.generate_private_key(ec.SECP256R1())
    )
    _key: ec.EllipticCurvePrivateKey = field(
        default_factory=lambda: ec.generate_private_key(ec.SECP256R1())
    )

    def __post_init__(self) -> None:
        self._root = make_certificate("root", self._root_key, self._root_key, is_root=True)
        self._own = make_certificate("stamps", self._key, self._root_key, is_root=False)

    def write_root(self, file: Path) -> Path:
        file.write_bytes(self._root.public_bytes(Encoding.PEM))
        return file

    def answer(self, query: bytes) -> bytes:
        parts = list_elements(list_elements(query)[0][1])
        _, (_, imprint) = list_elements(parts[1][1])
        nonce = next(content for tag, content in parts[2:] if tag == 0x02)
        if self.fault == "garbage":
            return b"<html>"
        if self.fault == "refused":
            return sequence(sequence(integer(2)))
        if self.fault == "another hash":
            imprint = hashlib.sha256(b"other").digest()
        if self.fault == "another nonce":
            nonce = b"\x01\x02"
        return sequence(sequence(integer(0)), self._sign(imprint, nonce))

    def _sign(self, imprint: bytes, nonce: bytes) -> bytes:
        time = f"{dt.datetime.now(dt.UTC):%Y%m%d%H%M%SZ}".encode()
        stamped = sequence(sequence(SHA256, octets(imprint)))[2:]
        info = sequence(
            integer(1), oid(POLICY), stamped, integer(7), der(0x18, time), der(0x02, nonce)
        )
        certificate = self._own.public_bytes(Encoding.DER)
        digest = octets(hashlib.sha256(certificate).digest())
        attributes = (
            sequence(oid(CONTENT_TYPE), set_of(oid(TST_INFO))),
            sequence(oid(MESSAGE_DIGEST), set_of(octets(hashlib.sha256(info).digest()))),
            sequence(oid(SIGNING_CERTIFICATE), set_of(sequence(sequence(sequence(digest))))),
        )
        signed = set_of(*attributes)
        key = self._key if self.fault != "another key" else self._root_key
        signer = sequence(
            integer(1),
            sequence(self._own.issuer.public_bytes(), integer(self._own.serial_number)),
            SHA256,
            b"\xa0" + signed[1:],
            ECDSA,
            octets(key.sign(signed, ec.ECDSA(hashes.SHA256()))),
        )
        content = sequence(
            integer(3),
            set_of(SHA256),
            sequence(oid(TST_INFO), der(0xA0, octets(info))),
            der(0xA0, certificate),
            set_of(signer),
        )
        return sequence(oid(SIGNED_DATA), der(0xA0, content))


@contextmanager
def served() -> Generator[Authority]:
    """Serve an authority on loopback."""
    authority = Authority()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            query = self.rfile.read(int(self.headers["Content-Length"]))
            authority.requests += 1
            content = authority.answer(query)
            self.send_response(503 if authority.fault == "503" else 200)
            self.send_header("Content-Type", "application/timestamp-reply")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        authority.url = f"http://127.0.0.1:{server.server_address[1]}/"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield authority
        finally:
            server.shutdown()
            thread.join()

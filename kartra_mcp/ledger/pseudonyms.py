"""Pseudonyms of leads for the ledger: a mask to read, a keyed hash to search by."""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import tempfile
import unicodedata
from pathlib import Path

from kartra_mcp.ledger.errors import LedgerDamagedError

KEY_NAME = "ledger.key"
KEY_SIZE = 32


def mask_email(email: str) -> str:
    """Mask an address: `ada@example.com` becomes `a**@e******.com`. The length reveals nothing."""
    name, _, domain = email.strip().rpartition("@")
    host, dot, top = domain.rpartition(".")
    end = f".{top.lower()}" if dot and top.isascii() and top.isalnum() else ""
    return f"{_first_letter(name)}**@{_first_letter(host if end else domain)}******{end}"


def mask_lead(email: str, lead_hash: str) -> str:
    """Return the name of a lead in the ledger: the mask of the address and a part of its hash."""
    return f"{mask_email(email)} {lead_hash[:16]}"


def hash_email(key: bytes, email: str) -> str:
    """Return the same hash for every spelling of an address.

    The key prevents trying out addresses against a copied ledger.
    """
    text = unicodedata.normalize("NFKC", email).strip().casefold()
    return hmac.new(key, text.encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()


def load_or_create_key(folder: Path) -> bytes:
    """Return the key of this folder; create it on first use. The caller has the write lock.

    Raises:
        LedgerDamagedError: the file is not `KEY_SIZE` bytes long.
    """
    path = folder / KEY_NAME
    try:
        key = path.read_bytes()
    except FileNotFoundError:
        return _make(path)
    if len(key) != KEY_SIZE:
        raise LedgerDamagedError(f"{KEY_NAME} was altered")
    return key


def _make(path: Path) -> bytes:
    key = secrets.token_bytes(KEY_SIZE)
    handle, aside = tempfile.mkstemp(dir=path.parent, prefix=".key.")
    with os.fdopen(handle, "wb") as file:
        file.write(key)
        file.flush()
        os.fsync(file.fileno())
    Path(aside).replace(path)
    return key


def _first_letter(text: str) -> str:
    return text[0].lower() if text and text[0].isascii() and text[0].isalnum() else "*"

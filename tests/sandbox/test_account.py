"""The account file: created once, deterministic, and all or nothing."""

import threading
from pathlib import Path

import pytest

from kartra_mcp.sandbox.store.database import Account
from kartra_mcp.sandbox.store.seed_billing import ANCHORS


def test_many_may_make_the_same_file_at_once(tmp_path: Path):
    path = str(tmp_path / "account.db")
    leads: list[int] = []

    def open_it() -> None:
        account = Account(path)
        leads.append(account.number("SELECT count(*) FROM leads"))
        account.close()

    threads = [threading.Thread(target=open_it) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert leads == [30] * 8
    assert [one.name for one in tmp_path.iterdir()] == ["account.db"]


def test_an_empty_file_is_filled_in_place(tmp_path: Path):
    (tmp_path / "account.db").touch()
    account = Account(str(tmp_path / "account.db"))
    assert account.number("SELECT count(*) FROM leads") == 30
    account.close()


def test_a_transaction_that_fails_leaves_nothing(account: Account):
    before = account.digest()

    def spoil() -> None:
        with account.transaction():
            account.run("DELETE FROM leads")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        spoil()
    assert account.digest() == before


def test_every_anchor_is_there(account: Account):
    for anchor in ANCHORS:
        table, number = anchor.split()
        assert account.row(f"SELECT 1 FROM {table}s WHERE id = ?", int(number)), anchor

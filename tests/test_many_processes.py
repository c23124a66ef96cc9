"""Many servers, one refund: it runs once. `make soak` does it with 16 servers and 800 calls."""

from __future__ import annotations

import pytest
from harness import Sandbox
from many_servers import submit_many

pytestmark = pytest.mark.anyio
PROCESSES, SUBMISSIONS = 4, 10


@pytest.mark.parametrize("gate", ["flag", "allow"])
async def test_of_many_submissions_to_many_servers_one_runs(tmp_path, gate):
    sandbox = Sandbox(tmp_path / "state", {"GATE_IRREVERSIBLE": gate})
    codes, wrong = await submit_many(sandbox, PROCESSES, SUBMISSIONS)
    assert wrong == [], codes
    assert codes["done"] == 1

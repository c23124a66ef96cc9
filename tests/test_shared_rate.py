"""The rate limit of one state folder: all its processes together start no more than it says."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kartra_mcp.core.file_locks import exclusive_lock
from kartra_mcp.core.shared_number import SharedNumber
from kartra_mcp.membrane.limiter import TokenBucket

RATE = 5.0
BURST = [0.0] * 5
RESERVE = """
import sys
from pathlib import Path
from kartra_mcp.core.shared_number import SharedNumber
from kartra_mcp.membrane.limiter import TokenBucket

pace = TokenBucket(float(sys.argv[2]), SharedNumber(Path(sys.argv[1])))
print(*(pace.reserve(100.0) for _ in range(int(sys.argv[3]))))
"""


def bucket(file: Path, rate: float = RATE) -> TokenBucket:
    return TokenBucket(rate, SharedNumber(file))


def test_two_servers_share_one_burst_and_one_pace(tmp_path: Path):
    one, other = bucket(tmp_path / "pace"), bucket(tmp_path / "pace")
    waits = [pace.reserve(100.0) for _ in range(4) for pace in (one, other)]
    assert [round(wait, 6) for wait in waits] == [*BURST, 0.2, 0.4, 0.6]


def test_processes_share_one_pace(tmp_path: Path):
    words = [sys.executable, "-c", RESERVE, str(tmp_path / "pace"), str(RATE), "10"]
    started = [subprocess.Popen(words, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    waits = sorted(float(wait) for one in started for wait in one.communicate()[0].split())
    step = 1 / RATE
    expected = [max(0.0, (number + 1) * step - 1.0) for number in range(40)]
    assert [round(wait, 6) for wait in waits] == [round(wait, 6) for wait in expected]


@given(st.lists(st.tuples(st.booleans(), st.floats(0, 0.5)), min_size=1, max_size=60))
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_second_holds_more_than_the_bucket_and_the_rate_of_all_together(
    tmp_path_factory: pytest.TempPathFactory, turns: list[tuple[bool, float]]
):
    file = tmp_path_factory.mktemp("state") / "pace"
    one, other = bucket(file), bucket(file)
    now, starts = 50.0, list[float]()
    for first, gap in turns:
        now += gap
        starts.append(now + (one if first else other).reserve(now))
    for begin in starts:
        assert len([at for at in starts if begin <= at < begin + 1 - 1e-6]) <= 2 * RATE + 1


@pytest.mark.parametrize(
    "content",
    [b"", b"\0", b"x" * 100, *(struct.pack("<d", v) for v in (1e300, -1e300, float("nan"), 1e9))],
)
def test_a_damaged_or_absurd_file_delays_nothing(tmp_path: Path, content: bytes):
    (tmp_path / "pace").write_bytes(content)
    pace = bucket(tmp_path / "pace")
    assert [round(pace.reserve(100.0), 6) for _ in range(5)] == BURST


def test_a_folder_that_cannot_be_written_leaves_each_process_its_own_limit(tmp_path: Path):
    (tmp_path / "file").write_text("")
    pace = bucket(tmp_path / "file" / "pace")
    assert [round(pace.reserve(100.0), 6) for _ in range(7)] == [*BURST, 0.2, 0.4]


def test_a_process_that_keeps_the_lock_stops_no_other(tmp_path: Path):
    with exclusive_lock(tmp_path / "pace", 1.0):
        pace = bucket(tmp_path / "pace")
        assert [pace.reserve(100.0) for _ in range(2)] == [0.0, 0.0]


def test_a_released_reservation_is_free_for_the_others(tmp_path: Path):
    one, other = bucket(tmp_path / "pace"), bucket(tmp_path / "pace")
    for _ in range(5):
        one.reserve(100.0)
    one.release()
    assert other.reserve(100.0) == pytest.approx(0.0)


def test_without_a_rate_no_file_is_made(tmp_path: Path):
    pace = bucket(tmp_path / "pace", 0.0)
    assert pace.reserve(100.0) == 0.0
    assert os.listdir(tmp_path) == []  # noqa: PTH208  the names are what is compared

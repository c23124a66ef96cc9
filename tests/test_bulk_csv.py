"""Bulk items from CSV files: how files are read, and which files a client may name."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from bulk_account import (
    CREATE,
    EDIT,
    POINTS,
    REFUND,
    RUN,
    TAG,
    VIP,
    add_leads,
    agree,
    bulk_id,
    created,
    states,
    tagged,
)
from consent_actors import changed, lines, sandbox
from harness import Answer, Sandbox, call, connect

pytestmark = pytest.mark.anyio


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    found = tmp_path / "import"
    found.mkdir()
    return found


@pytest.fixture
def place(tmp_path: Path, folder: Path) -> Sandbox:
    return sandbox(tmp_path / "place", IMPORT_DIR=str(folder))


async def plan(client: Any, tool: str, file: str = "leads.csv", **more: Any) -> Answer:
    csv = {"file": file, **({"map": more.pop("map")} if "map" in more else {})}
    return await call(client, RUN, tool=tool, csv=csv, **more)


def sample(answer: Answer) -> list[dict[str, Any]]:
    """The first items of a preview, with the arguments that all share."""
    facts = answer.error["confirmation"]["facts"]
    return [{**facts.get("shared", {}), **item} for item in facts["sample"]]


ADA = {"email": "made1@example.com", "first_name": "Ada"}
BO = {"email": "made2@example.com", "first_name": "Bo"}
WRITTEN: dict[str, tuple[bytes, list[dict[str, str]]]] = {
    "commas": (b"email,first_name\nmade1@example.com,Ada\nmade2@example.com,Bo\n", [ADA, BO]),
    "semicolons": (b"email;first_name\r\nmade1@example.com;Ada\r\n", [ADA]),
    "tabs": (b"email\tfirst_name\nmade1@example.com\tAda", [ADA]),
    "old line ends": (b"email,first_name\rmade1@example.com,Ada\r", [ADA]),
    "a named delimiter": (b"sep=;\r\nemail;first_name\r\nmade1@example.com;Ada\r\n", [ADA]),
    "a byte order mark": (b"\xef\xbb\xbfemail,first_name\nmade1@example.com,Ada\n", [ADA]),
    "UTF-16": ("email\tfirst_name\nmade1@example.com\tAda\n".encode("utf-16"), [ADA]),
    "a header in capitals": (b"EMAIL,First Name\nmade1@example.com,Ada\n", [ADA]),
    "a header with hyphens": (b"E-Mail, FIRST-name \nmade1@example.com,Ada\n", [ADA]),
    "a header with accents": ("émail,fïrst name\nmade1@example.com,Ada\n".encode(), [ADA]),
    "blanks around": (b" email , first_name\n made1@example.com ,\tAda \n", [ADA]),
    "empty lines": (
        b"\r\n\r\nemail,first_name\n\nmade1@example.com,Ada\n,\n \n\nmade2@example.com,Bo\n\n",
        [ADA, BO],
    ),
    "quotes": (
        b'"email","first_name"\n"made1@example.com","Lovelace, ""Ada"""\n',
        [{**ADA, "first_name": 'Lovelace, "Ada"'}],
    ),
    "a line break in a cell": (
        b'email,first_name\nmade1@example.com,"A\nda"\nmade2@example.com,Bo\n',
        [{**ADA, "first_name": "A\nda"}, BO],
    ),
    "umlauts in UTF-8": (
        "email,first_name\nmade1@example.com,Jürgen\n".encode(),
        [{**ADA, "first_name": "Jürgen"}],
    ),
    "umlauts in Windows-1252": (
        "email;first_name\nmade1@example.com;Jürgen „Spaß“ €\n".encode("cp1252"),
        [{**ADA, "first_name": "Jürgen „Spaß“ €"}],
    ),
    "an empty cell of a field": (
        b"email,first_name\nmade1@example.com,\n",
        [{"email": "made1@example.com"}],
    ),
    "a formula made harmless": (
        b"email,first_name\nmade1@example.com,'+49 30\n",
        [{**ADA, "first_name": "+49 30"}],
    ),
    "an apostrophe": (
        b"email,first_name\nmade1@example.com,'s Gravenhage\n",
        [{**ADA, "first_name": "'s Gravenhage"}],
    ),
    "empty cells at the end": (b"email;first_name\nmade1@example.com;Ada;;\n", [ADA]),
}


@pytest.mark.parametrize("name", WRITTEN)
async def test_a_file_is_read_as_programs_write_it(place: Sandbox, folder: Path, name: str):
    content, wanted = WRITTEN[name]
    (folder / "leads.csv").write_bytes(content)
    async with connect(place, "legacy") as client:
        preview = await plan(client, CREATE)
    assert preview.code == "confirmation_required", preview.text
    assert sample(preview) == wanted
    assert preview.error["confirmation"]["facts"]["count"] == len(wanted)


WRONG_ROWS: dict[str, tuple[str, str, list[tuple[int, str]]]] = {
    "a missing cell": (CREATE, "email,first_name\n\nmade1@example.com\n", [(3, "1 cells")]),
    "a cell too many": (CREATE, "email,first_name\nmade1@example.com,A,B\n", [(2, "3 cells")]),
    "a wrong address": (
        CREATE,
        'email,first_name\nmade1@example.com,"A\n\nda"\nmade2,Bo\n',
        [(5, "email")],
    ),
    "text after a quote": (CREATE, 'email\n"a"b@example.com\n', [(2, "cannot be read")]),
    "no address": (TAG, "email,tag_name\n,VIP\n", [(2, "no lead")]),
    "no amount": (REFUND, "transaction_id,refund_amount\n101,\n", [(2, "refund_amount is empty")]),
    "an amount with a comma": (
        REFUND,
        'transaction_id;refund_amount\n101;"1,50"\n',
        [(2, "refund_amount")],
    ),
    "two rows": (CREATE, "email\nx\nmade1@example.com\ny\n", [(2, "email"), (4, "email")]),
}


@pytest.mark.parametrize("name", WRONG_ROWS)
async def test_a_wrong_row_is_named_with_its_line(place: Sandbox, folder: Path, name: str):
    tool, text, wanted = WRONG_ROWS[name]
    (folder / "leads.csv").write_text(text)
    async with connect(place, "legacy") as client:
        answer = await plan(client, tool)
    assert (answer.code, answer.executed) == ("invalid_arguments", "no"), answer.text
    found = answer.error["detail"]["invalid"]["first"]
    assert [item["item"] for item in found] == [line for line, _ in wanted]
    for item, (_, word) in zip(found, wanted, strict=True):
        assert word in item["reason"]


WRONG_FILES: dict[str, tuple[bytes, dict[str, Any], str]] = {
    "nothing": (b"", {}, "no rows"),
    "blank lines": (b"\n;;\n\n", {}, "no rows"),
    "a header alone": (b"email\n", {}, "no items"),
    "a quote that is never closed": (b'email,a\n"x@example.com,1\ny@example.com,2\n', {}, "line 2"),
    "a quote that swallows rows": (b'email,a\n"x,1\ny,2\nz,"3\n', {}, "line 2"),
    "an image": (b"\x89PNG\r\n\x1a\n\0\0", {}, "not text"),
    "damaged UTF-8": ("email\nMüller Öl Ä\n".encode() + b"\xfc\n", {}, "line 3"),
    "no column of the tool": (b"mail address,phone number\nx,y\n", {}, "No column"),
    "two columns for one argument": (b"email,E-Mail\nx@example.com,y@example.com\n", {}, "both"),
    "a map to an unknown column": (b"email\nx\n", {"map": {"adress": "email"}}, "'adress'"),
    "a map to one of two columns": (b"a,a\nx,y\n", {"map": {"a": "email"}}, "several columns"),
    "a map to an unknown argument": (b"a\nx\n", {"map": {"a": "emial"}}, "'emial'"),
    "a map of two to one": (b"a,b\nx,y\n", {"map": {"a": "email", "b": "email"}}, "both"),
    "too many rows": (b"email\n" + b"x@example.com\n" * 2_003, {}, "2,003"),
    "a map that is a list": (b"email\nx\n", {"map": ["email"]}, "csv is not"),
    "a map to a number": (b"email\nx\n", {"map": {"email": 1}}, "csv is not"),
}


@pytest.mark.parametrize("name", WRONG_FILES)
async def test_a_file_that_cannot_be_read_surely_is_refused(
    place: Sandbox, folder: Path, name: str
):
    content, more, word = WRONG_FILES[name]
    (folder / "leads.csv").write_bytes(content)
    async with connect(place, "legacy") as client:
        answer = await plan(client, CREATE, **more)
    assert answer.code in ("invalid_arguments", "input_too_large"), answer.text
    assert answer.executed == "no"
    assert word in answer.error["message"]
    assert changed(place, "SELECT id FROM bulk_runs") == []


async def test_an_unknown_column_is_refused_with_what_there_is(place: Sandbox, folder: Path):
    (folder / "leads.csv").write_text("Customer,Phone\nx@example.com,1\n")
    async with connect(place, "legacy") as client:
        answer = await plan(client, TAG, map={"Customers": "email"})
    assert answer.error["detail"]["columns"] == ["Customer", "Phone"]
    assert {"email", "tag_name"} <= set(answer.error["detail"]["arguments"])


async def test_a_map_names_the_columns_and_the_preview_those_not_used(place: Sandbox, folder: Path):
    who = add_leads(place, 2)
    rows = "".join(f"{number};{email};x\n" for number, email in enumerate(who))
    (folder / "leads.csv").write_text(f"Nr;Kunden-Adresse;Notiz\n{rows}")
    async with connect(place, "legacy") as client:
        preview = await plan(client, TAG, arguments=VIP, map={"kundenadresse": "email"})
        facts = preview.error["confirmation"]["facts"]
        assert facts["columns_not_used"] == ["Nr", "Notiz"]
        done = await agree(client, preview)
        assert done.result["done"] == 2
    assert tagged(place) >= set(who)


async def test_a_cell_replaces_a_shared_argument_and_an_empty_one_does_not(
    place: Sandbox, folder: Path
):
    rows = "email,first_name\nmade1@example.com,\nmade2@example.com,Bo\n"
    (folder / "leads.csv").write_text(rows)
    async with connect(place, "legacy") as client:
        preview = await plan(client, CREATE, arguments={"first_name": "Friend"})
    assert [item["first_name"] for item in sample(preview)] == ["Friend", "Bo"]


async def test_numbers_of_cells_are_numbers(place: Sandbox, folder: Path):
    (who,) = add_leads(place, 1)
    (folder / "leads.csv").write_text(f"email,points\n{who},5\n")
    async with connect(place, "legacy") as client:
        preview = await plan(client, POINTS)
        assert preview.code == "confirmation_required", preview.text
        assert (await agree(client, preview)).result["done"] == 1
    assert place.rows("SELECT points FROM points ORDER BY rowid DESC LIMIT 1") == [(5,)]


async def test_an_empty_cell_leaves_a_field_of_a_lead_as_it_is(place: Sandbox, folder: Path):
    who = add_leads(place, 2)
    (folder / "leads.csv").write_text(
        f"email,first_name,last_name\n{who[0]},,New\n{who[1]},Other,New\n"
    )
    async with connect(place, "legacy") as client:
        preview = await plan(client, EDIT)
        assert (await agree(client, preview)).result["done"] == 2
    sql = "SELECT first_name, last_name FROM leads WHERE email IN (?, ?) ORDER BY email"
    assert place.rows(sql, *who) == [("Bulk", "New"), ("Other", "New")]


async def test_wrong_rows_are_left_out_where_that_is_wanted(place: Sandbox, folder: Path):
    text = "email\nmade1@example.com\nnone\nmade2@example.com\nmade1@example.com\n"
    (folder / "leads.csv").write_text(text)
    async with connect(place, "legacy") as client:
        preview = await plan(client, CREATE, skip_invalid=True)
        facts = preview.error["confirmation"]["facts"]
        assert (facts["count"], facts["duplicates"]) == (2, 1)
        await agree(client, preview)
        assert await states(client, bulk_id(preview)) == ["succeeded", "skipped", "succeeded"]
    assert created(place) == 2


async def test_two_thousand_rows_are_one_run(place: Sandbox, folder: Path):
    rows = "".join(f"made{number}@example.com;N{number}\r\n" for number in range(2_000))
    (folder / "leads.csv").write_text(f"E-Mail;First name\r\n{rows}", newline="")
    async with connect(place, "legacy") as client:
        preview = await plan(client, CREATE)
    assert preview.error["confirmation"]["facts"]["count"] == 2_000


OUTSIDE = ("../secret.csv", "/etc/passwd", "sub/../../secret.csv", "C:\\x.csv", "..\\secret.csv")
NO_FILES = (*OUTSIDE, "link.csv", "linked/secret.csv", "sub", ".", "", "pipe", "none.csv", "a\0b")


@pytest.fixture
def traps(folder: Path) -> None:
    """Files outside of the folder, and ways that seem to lead there."""
    outside = folder.parent / "outside"
    outside.mkdir()
    for file in (outside / "secret.csv", folder.parent / "secret.csv"):
        file.write_text("email\nsecret@example.com\n")
    (folder / "sub").mkdir()
    (folder / "sub" / "leads.csv").write_text("email\nmade1@example.com\n")
    (folder / "link.csv").symlink_to(outside / "secret.csv")
    (folder / "linked").symlink_to(outside)
    os.mkfifo(folder / "pipe")
    (folder / "large.csv").write_bytes(b"email\n" + b"\n" * (8 * 1024 * 1024))


@pytest.mark.parametrize("file", [*NO_FILES, "large.csv"])
async def test_no_file_outside_of_the_folder_is_read(place: Sandbox, traps: None, file: str):
    async with connect(place, "legacy") as client:
        answer = await plan(client, CREATE, file)
    assert (answer.code, answer.executed) == ("invalid_arguments", "no"), answer.text
    assert "secret@example.com" not in answer.text


async def test_a_file_in_a_folder_below_is_read(place: Sandbox, traps: None):
    async with connect(place, "legacy") as client:
        assert (await plan(client, CREATE, "sub/leads.csv")).code == "confirmation_required"


@pytest.mark.parametrize("value", ["", "import", "$HOME/import", "${HOME}"])
async def test_without_a_usable_folder_no_file_is_read(tmp_path: Path, value: str):
    (tmp_path / "leads.csv").write_text("email\nmade1@example.com\n")
    place = sandbox(tmp_path / "place", IMPORT_DIR=value)
    async with connect(place, "legacy") as client:
        answer = await plan(client, CREATE)
        status = await call(client, "kartra_status")
    assert (answer.code, answer.executed) == ("not_allowed", "no")
    assert "KARTRA_MCP_IMPORT_DIR" in answer.error["remedy"]
    assert bool(value) is ("KARTRA_MCP_IMPORT_DIR" in status.text)


async def test_a_folder_that_does_not_exist_is_not_called_a_missing_file(tmp_path: Path):
    place = sandbox(tmp_path / "place", IMPORT_DIR=str(tmp_path / "none"))
    async with connect(place, "legacy") as client:
        answer = await plan(client, CREATE)
    assert (answer.code, answer.executed) == ("not_allowed", "no")
    assert "KARTRA_MCP_IMPORT_DIR is not an existing folder" in answer.error["message"]


async def test_two_sources_of_items_are_refused(place: Sandbox, folder: Path):
    (folder / "leads.csv").write_text("email\nmade1@example.com\n")
    async with connect(place, "legacy") as client:
        answer = await plan(client, CREATE, items=[{"email": "made2@example.com"}])
    assert (answer.code, answer.executed) == ("invalid_arguments", "no")
    assert "items and csv" in answer.error["message"]
    assert lines(place, "intent") == []

"""CSV text to the items of a bulk run, each with the line where it begins. Pure."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any

from kartra_mcp.bulk.request import MAX_ITEMS, BulkRequest, SourceItem, require_size
from kartra_mcp.core.errors import RefusedError
from kartra_mcp.core.sanitize import strip_control_chars, truncate
from kartra_mcp.kartra.names import fold_text

MAX_CSV_BYTES = 8 * 1024 * 1024
MAX_NAME_CHARS = 60
MAX_COLUMNS_LISTED = 50
FORMULA_STARTS = ("=", "+", "-", "@")
DELIMITERS = (";", ",", "\t")
_BLANKS = "".join((*DELIMITERS, " "))
"""Characters of a row without values, also if it is read by the wrong delimiter."""
_COMPARED = 20
"""Rows by which the delimiter is found."""
_LINE = re.compile(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+")
_DECLARED = re.compile(r"sep=(.)\s*", re.IGNORECASE)
"""First line by which Excel names the delimiter."""
_WHOLE = re.compile(r"-?[0-9]{1,15}")
_DECIMAL = re.compile(r"-?[0-9]{1,15}\.[0-9]{1,6}")
_UTF16 = (b"\xff\xfe", b"\xfe\xff")
_NEVER_CLOSED = "unexpected end of data"
"""Message of the csv module."""


@dataclass(frozen=True, slots=True)
class CsvTarget:
    """The tool whose arguments the columns fill.

    Attributes:
        types: the JSON types of each argument; empty if any is allowed.
        optional: arguments that an empty cell leaves out. Leaving out another one may do more: a
            refund without an amount is a full refund.
    """

    types: Mapping[str, frozenset[str]]
    optional: frozenset[str]

    def convert_text(self, argument: str, text: str) -> Any:
        """Return a text in the JSON type that an argument demands, where that is certain."""
        types = self.types.get(argument, frozenset[str]())
        if not types or "string" in types:
            return text
        if types & {"integer", "number"} and _WHOLE.fullmatch(text):
            return int(text)
        if "number" in types and _DECIMAL.fullmatch(text):
            return float(text)
        if "boolean" in types and text.lower() in ("true", "false"):
            return text.lower() == "true"
        return text


@dataclass(frozen=True, slots=True)
class CsvItems:
    """Items of a file, the reason of each wrong row by its line, and the columns not used."""

    items: tuple[SourceItem, ...]
    invalid: Mapping[int, str]
    unused: tuple[str, ...]

    def fill(self, request: BulkRequest) -> BulkRequest:
        """Return a request with these items."""
        unused = tuple(map(_shorten, self.unused[:MAX_COLUMNS_LISTED]))
        return replace(request, items=self.items, invalid=self.invalid, unused_columns=unused)


@dataclass(frozen=True, slots=True)
class _Record:
    """One record as read: its first and last line, its cells, and what is wrong with it."""

    line: int
    last: int
    cells: tuple[str, ...]
    fault: str = ""

    @property
    def is_blank(self) -> bool:
        return not self.fault and not any(cell.strip(_BLANKS) for cell in self.cells)


@dataclass(frozen=True, slots=True)
class CsvTable:
    """Header and rows of a file; blank rows are left out."""

    columns: tuple[str, ...]
    rows: tuple[_Record, ...] = field(repr=False)


def decode_csv(content: bytes) -> str:
    """Return the text of a file: UTF-8, UTF-16 with a byte order mark, else Windows-1252.

    Raises:
        RefusedError: it is neither, or UTF-8 that was damaged: names would be changed silently.
    """
    try:
        if content.startswith(_UTF16):
            return _require_text(content.decode("utf-16"))
        return _require_text(content.decode("utf-8-sig"))
    except UnicodeDecodeError:
        pass
    lenient = content.decode("utf-8", "replace")
    wrong = lenient.count("\ufffd")
    if sum(ord(char) > 127 for char in lenient) > 2 * wrong:  # noqa: PLR2004  beyond ASCII
        line = lenient[: lenient.index("\ufffd")].count("\n") + 1
        raise _unreadable_error(f"The file is UTF-8, but line {line} is not")
    try:
        return _require_text(content.decode("cp1252"))
    except UnicodeDecodeError:
        raise _unreadable_error("The file is neither UTF-8 nor Windows-1252 text") from None


def _require_text(text: str) -> str:
    if "\0" in text:
        raise _unreadable_error("The file is not text")
    return text.removeprefix("\ufeff")


def read_csv(text: str) -> CsvTable:
    """Return the table of a file: its first row is the header.

    Raises:
        RefusedError: it has no rows, too many, or a quote is never closed.
    """
    lines = _LINE.findall(text)
    declared = _DECLARED.fullmatch(lines[0]) if lines else None
    delimiter = declared[1] if declared else _find_delimiter(lines)
    first = 1 if declared else 0
    records = _iter_filled(_iter_records(lines[first:], delimiter, first))
    header = next(records, None)
    if header is None:
        raise _unreadable_error("The file has no rows")
    if header.fault:
        raise _unreadable_error(f"The header in line {header.line} cannot be read: {header.fault}")
    rows = tuple(islice(records, MAX_ITEMS + 1))
    require_size(len(rows) + sum(1 for _ in records))
    for row in rows:
        if row.fault and (row.last > row.line or row.fault == _NEVER_CLOSED):
            raise _unreadable_error(
                f"A quote in line {row.line} is not closed as CSV requires; everything up to line "
                f"{row.last} would be one row"
            )
    return CsvTable(header.cells, rows)


def _find_delimiter(lines: Sequence[str]) -> str:
    """Return the delimiter by which most of the first rows have as many cells as the header."""

    def rate(delimiter: str) -> tuple[bool, int, int]:
        records = islice(_iter_filled(_iter_records(lines, delimiter, 0)), _COMPARED)
        widths = [len(record.cells) for record in records if not record.fault]
        width = widths[0] if widths else 0
        return width > 1, widths.count(width), width

    return max(DELIMITERS, key=rate)


def _iter_filled(records: Iterable[_Record]) -> Iterator[_Record]:
    return (record for record in records if not record.is_blank)


def _iter_records(lines: Sequence[str], delimiter: str, before: int) -> Iterator[_Record]:
    """Yield the records of lines, which follow `before` other lines of the file."""
    reader = csv.reader(lines, delimiter=delimiter, strict=True, skipinitialspace=True)
    while True:
        start = before + reader.line_num + 1
        try:
            cells, fault = tuple(cell.strip() for cell in next(reader)), ""
        except StopIteration:
            return
        except csv.Error as problem:
            cells, fault = (), str(problem)
        yield _Record(start, before + reader.line_num, cells, fault)


def make_items(
    table: CsvTable, target: CsvTarget, mapping: Mapping[str, str], shared: Mapping[str, Any]
) -> CsvItems:
    """Return the items of a table.

    Args:
        table: the table.
        target: the tool of the run.
        mapping: columns to arguments; without any, columns with the name of an argument are used.
        shared: arguments of every item; a cell that is not empty replaces one.

    Raises:
        RefusedError: a column or an argument is unknown or ambiguous.
    """
    used = _map_columns(table, target, mapping) if mapping else _match_columns(table, target)
    items: list[SourceItem] = []
    invalid: dict[int, str] = {}
    for row in table.rows:
        found = _read_row(row, len(table.columns), used, target)
        if isinstance(found, str):
            invalid[row.line] = found
        else:
            items.append(SourceItem(row.line, {**shared, **found}))
    unused = tuple(
        name for position, name in enumerate(table.columns) if name and position not in used
    )
    return CsvItems(tuple(items), invalid, unused)


def _read_row(
    row: _Record, width: int, used: Mapping[int, str], target: CsvTarget
) -> dict[str, Any] | str:
    """Return the arguments of a row, or what is wrong with it."""
    if row.fault:
        return f"The row cannot be read: {row.fault}."
    if len(row.cells) < width or any(row.cells[width:]):
        return f"The row has {len(row.cells)} cells; the header has {width}."
    found: dict[str, Any] = {}
    for position, argument in used.items():
        cell = _unescape(row.cells[position])
        if cell:
            found[argument] = target.convert_text(argument, cell)
        elif argument not in target.optional:
            return f"The cell for {argument} is empty."
    return found or "The row has no value for an argument."


def _unescape(cell: str) -> str:
    """Remove the apostrophe by which an export keeps a spreadsheet from running a formula."""
    return cell[1:] if cell[:1] == "'" and cell[1:].startswith(FORMULA_STARTS) else cell


def _match_columns(table: CsvTable, target: CsvTarget) -> dict[int, str]:
    """Return the argument of each column that has the name of one."""
    by_name = {fold_column(name): name for name in target.types}
    used: dict[int, str] = {}
    for position, column in enumerate(table.columns):
        argument = by_name.get(fold_column(column))
        if argument is not None:
            _require_unused(table, used, position, argument)
            used[position] = argument
    if not used:
        raise _columns_error(
            table, target, "No column of the file has the name of an argument", "Give a map."
        )
    return used


def _map_columns(table: CsvTable, target: CsvTarget, mapping: Mapping[str, str]) -> dict[int, str]:
    """Return the argument of each column that the map names."""
    used: dict[int, str] = {}
    by_name = {fold_column(name): name for name in target.types}
    for column, wanted in mapping.items():
        position = _find_column(table, target, column)
        argument = wanted if wanted in target.types else by_name.get(fold_column(wanted))
        if argument is None:
            what = f"The tool has no argument {quote(wanted)}"
            raise _columns_error(table, target, what, "Map the column to one of its arguments.")
        _require_unused(table, used, position, argument)
        used[position] = argument
    return used


def _find_column(table: CsvTable, target: CsvTarget, column: str) -> int:
    """Return the position of a column: by its exact name, else in another case or spelling."""
    exact = [n for n, name in enumerate(table.columns) if name == column.strip()]
    folded = fold_column(column)
    found = exact or [n for n, name in enumerate(table.columns) if fold_column(name) == folded]
    if len(found) == 1:
        return found[0]
    what = "has several columns" if found else "has no column"
    raise _columns_error(
        table, target, f"The file {what} {quote(column)}", "Name one of its columns."
    )


def _require_unused(table: CsvTable, used: Mapping[int, str], position: int, argument: str) -> None:
    """Refuse two columns for one argument."""
    for other, taken in used.items():
        if taken == argument or other == position:
            first, second = (quote(table.columns[n]) for n in (other, position))
            raise RefusedError(
                "invalid_arguments",
                f"The columns {first} and {second} are both for {argument}, or one column is "
                "given twice. Nothing was done.",
                "Give a map with one column for each argument.",
            )


def fold_column(name: str) -> str:
    """Return a name without case, accents, blanks, hyphens and underscores."""
    return re.sub(r"[\s_-]", "", fold_text(name))


def quote(name: str) -> str:
    """Return a name of a file as a short quoted line."""
    return repr(_shorten(name))


def _shorten(name: str) -> str:
    return truncate(" ".join(strip_control_chars(name).split()), MAX_NAME_CHARS)


def _columns_error(table: CsvTable, target: CsvTarget, what: str, remedy: str) -> RefusedError:
    columns = list(map(_shorten, table.columns[:MAX_COLUMNS_LISTED]))
    return RefusedError(
        "invalid_arguments",
        f"{what}. Nothing was done.",
        f"{remedy} `detail` lists both.",
        detail={"columns": columns, "arguments": sorted(target.types)},
    )


def _unreadable_error(what: str) -> RefusedError:
    return RefusedError(
        "invalid_arguments",
        f"{what}. Nothing was done.",
        "Save the table as CSV in UTF-8 again: a header row, then one row for each item.",
    )

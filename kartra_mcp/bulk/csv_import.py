"""CSV files that a client names: only inside the folder of KARTRA_MCP_IMPORT_DIR."""

from __future__ import annotations

import errno
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from kartra_mcp.bulk.csv_items import (
    MAX_CSV_BYTES,
    CsvItems,
    decode_csv,
    make_items,
    quote,
    read_csv,
)
from kartra_mcp.bulk.item_calls import describe_target
from kartra_mcp.catalogue.catalogue import ActionTool
from kartra_mcp.core.errors import RefusedError
from kartra_mcp.core.files import read_file_inside
from kartra_mcp.core.json_types import as_dict, is_object

MAX_PATH_CHARS = 500


@dataclass(frozen=True, slots=True)
class CsvSource:
    """The argument `csv` of `kartra_bulk_run`: a file, and its columns by argument."""

    file: str
    mapping: Mapping[str, str]


def parse_source(given: Mapping[str, Any]) -> CsvSource:
    """Return the argument `csv`.

    Raises:
        RefusedError: it is not `{file, map}`.
    """
    file, mapping = given.get("file"), as_dict(given.get("map"))
    others = sorted(given.keys() - {"file", "map"})
    is_named = isinstance(file, str) and 0 < len(file) <= MAX_PATH_CHARS
    texts = {name: value for name, value in mapping.items() if isinstance(value, str)}
    is_mapped = len(texts) == len(mapping) and is_object(given.get("map", {}))
    if not is_named or not is_mapped or others:
        raise RefusedError(
            "invalid_arguments",
            "csv is not {file, map}. Nothing was done.",
            'Give csv as {"file": "leads.csv", "map": {"E-mail address": "email"}}: each column '
            "with its argument. Without map, columns with the name of an argument are used.",
        )
    return CsvSource(str(file), texts)


def read_items(
    entry: ActionTool, content: bytes, mapping: Mapping[str, str], shared: Mapping[str, Any]
) -> CsvItems:
    """Return the items of a file's content for a tool.

    Raises:
        RefusedError: the file or a column cannot be used. Nothing was done.
    """
    return make_items(read_csv(decode_csv(content)), describe_target(entry), mapping, shared)


def read_import(folder: Path | None, file: str) -> bytes:
    """Return the content of a file inside the import folder.

    Raises:
        RefusedError: no folder is set, or the file is not a small regular file inside it.
    """
    if folder is None:
        raise RefusedError(
            "not_allowed",
            "No folder is set from which files may be read. Nothing was read or done.",
            "Give the rows as `items`. Or ask the user to set KARTRA_MCP_IMPORT_DIR to a folder "
            "for CSV files and restart the server, or to run "
            "`kartra-mcp bulk run TOOL --csv FILE` in a terminal.",
        )
    if not folder.is_dir():
        raise RefusedError(
            "not_allowed",
            "KARTRA_MCP_IMPORT_DIR is not an existing folder. Nothing was read or done.",
            "Give the rows as `items`, or ask the user to create the folder or correct the "
            "setting.",
        )
    try:
        return read_file_inside(folder, _split_path(file), MAX_CSV_BYTES)
    except (OSError, ValueError) as problem:
        raise _unreadable_file_error(file, problem) from None


def _split_path(file: str) -> tuple[str, ...]:
    """Return the parts of a path below the folder.

    Raises:
        ValueError: it is absolute, or leads out of the folder, on any platform.
    """
    windows = PureWindowsPath(file)
    parts = PurePosixPath(file).parts
    is_rooted = file.startswith("/") or bool(windows.anchor) or "\\" in file or "\0" in file
    if is_rooted or ".." in parts or not parts:
        raise ValueError(file)
    return parts


def _unreadable_file_error(file: str, problem: Exception) -> RefusedError:
    is_missing = isinstance(problem, OSError) and problem.errno in (errno.ENOENT, errno.ENOTDIR)
    why = (
        "does not exist in the import folder"
        if is_missing
        else f"is not a regular file of at most {MAX_CSV_BYTES // 1024 // 1024} MiB inside the "
        "import folder, reached without a link"
    )
    return RefusedError(
        "invalid_arguments",
        f"The file {quote(file)} {why}. Nothing was done.",
        "Give the path of a CSV file below KARTRA_MCP_IMPORT_DIR, e.g. leads.csv.",
    )

"""The program is found where people install it, on every platform, and never through a shell."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from kartra_mcp.core.errors import RefusedError
from kartra_mcp.membrane.executable import find_executable, find_shim_target, search_path

posix = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no POSIX file modes")


def program(file: Path, mode: int = 0o755, text: str = "") -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    file.chmod(mode)
    return file


def refusal(setting: str | None, path: str, platform: str, home: Path) -> RefusedError:
    with pytest.raises(RefusedError) as caught:
        find_executable(setting, path, platform, home)
    assert caught.value.code == "program_missing"
    assert "KARTRA_MCP_MEMBRANE" in caught.value.remedy
    return caught.value


# As npm 11, pnpm 10 and yarn 1 write them.
NPM = r"""@ECHO off
GOTO start
:find_dp0
SET dp0=%~dp0
EXIT /b
:start
SETLOCAL
CALL :find_dp0

IF EXIST "%dp0%\node.exe" (
  SET "_prog=%dp0%\node.exe"
) ELSE (
  SET "_prog=node"
  SET PATHEXT=%PATHEXT:;.JS;=;%
)

endLocal & goto #_undefined_# 2>NUL || title %COMSPEC% & "%_prog%"  "%dp0%\node_modules\@membranehq\cli\dist\index.js" %*
"""  # noqa: E501  as npm writes it
PNPM = r"""@SETLOCAL
@IF NOT DEFINED NODE_PATH (
  @SET "NODE_PATH=C:\Users\me\AppData\Local\pnpm\global\5\node_modules"
)
@IF EXIST "%~dp0\node.exe" (
  "%~dp0\node.exe"  "%~dp0\global\5\node_modules\@membranehq\cli\dist\index.js" %*
) ELSE (
  @SET PATHEXT=%PATHEXT:;.JS;=;%
  node  "%~dp0\global\5\node_modules\@membranehq\cli\dist\index.js" %*
)
"""
YARN = r"""@"%~dp0\..\Data\global\node_modules\.bin\membrane.cmd"   %*
"""
VOLTA = "@echo off\nvolta run membrane %*\n"


@posix
class TestWithoutASetting:
    def test_membrane_is_taken_from_the_path(self, tmp_path: Path) -> None:
        found = program(tmp_path / "b" / "membrane")
        program(tmp_path / "a" / "membrane", mode=0o644)

        path = f"{tmp_path / 'a'}:{tmp_path / 'b'}"

        assert find_executable(None, path, "linux", tmp_path) == (str(found),)

    def test_a_relative_entry_of_the_path_is_passed_over(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        program(tmp_path / "membrane")
        monkeypatch.chdir(tmp_path)

        refusal(None, ".::", "linux", tmp_path)

    @pytest.mark.parametrize(
        "place",
        [
            ".npm-global/bin",
            ".local/bin",
            ".volta/bin",
            ".nvm/versions/node/v22.1.0/bin",
            ".local/share/fnm/node-versions/v22.1.0/installation/bin",
            ".asdf/shims",
            ".bun/bin",
            "Library/pnpm",
            ".local/share/pnpm",
        ],
    )
    def test_the_usual_places_of_npm_are_looked_into(self, tmp_path: Path, place: str) -> None:
        found = program(tmp_path / place / "membrane")

        assert find_executable(None, "", "linux", tmp_path) == (str(found),)

    def test_of_several_versions_of_node_the_newest_is_taken(self, tmp_path: Path) -> None:
        versions = tmp_path / ".nvm/versions/node"
        for version in ("v9.9.9", "v22.10.0", "v22.9.0", "system"):
            program(versions / version / "bin" / "membrane")

        newest = versions / "v22.10.0" / "bin" / "membrane"

        assert find_executable("", "", "linux", tmp_path) == (str(newest),)

    def test_a_missing_program_names_the_package_to_install(self, tmp_path: Path) -> None:
        refused = refusal(None, str(tmp_path), "linux", tmp_path)

        assert "npm install -g @membranehq/cli" in refused.remedy


@posix
class TestTheSetting:
    def test_an_existing_file_is_one_word_even_with_spaces(self, tmp_path: Path) -> None:
        found = program(tmp_path / "my programs" / "membrane")

        assert find_executable(str(found), "", "linux", tmp_path) == (str(found),)

    def test_a_tilde_is_the_home_folder(self, tmp_path: Path) -> None:
        found = program(tmp_path / "x" / "membrane")

        assert find_executable("~/x/membrane", "", "linux", tmp_path) == (str(found),)

    def test_a_json_array_is_taken_word_by_word(self, tmp_path: Path) -> None:
        npx = program(tmp_path / "npx")
        setting = json.dumps(["npx", "-y", "@membranehq/cli@1.18.3", "a b"])

        command = find_executable(setting, str(tmp_path), "linux", tmp_path)

        assert command == (str(npx), "-y", "@membranehq/cli@1.18.3", "a b")

    def test_else_it_is_shell_words(self, tmp_path: Path) -> None:
        npx = program(tmp_path / "npx")

        command = find_executable("npx -y 'a b'", str(tmp_path), "linux", tmp_path)

        assert command == (str(npx), "-y", "a b")

    def test_backslashes_live_on_windows(self, tmp_path: Path) -> None:
        npx = program(tmp_path / "npx.exe")

        command = find_executable('npx "C:\\a b\\c.js" D:\\e', str(tmp_path), "win32", tmp_path)

        assert command == (str(npx), "C:\\a b\\c.js", "D:\\e")

    @pytest.mark.parametrize("setting", ["'open", "[1]", "[]", "/no/such/file", "nothing-here -x"])
    def test_what_cannot_be_read_or_found_is_refused(self, tmp_path: Path, setting: str) -> None:
        refusal(setting, "", "linux", tmp_path)

    def test_a_name_is_never_looked_up_in_the_working_folder(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        program(tmp_path / "membrane")
        monkeypatch.chdir(tmp_path)

        refusal("membrane", "", "linux", tmp_path)

    @pytest.mark.parametrize("ending", [".js", ".mjs", ".cjs"])
    def test_a_script_of_node_is_run_by_node(self, tmp_path: Path, ending: str) -> None:
        node = program(tmp_path / "bin" / "node")
        script = program(tmp_path / f"cli{ending}", mode=0o644)

        command = find_executable(str(script), str(node.parent), "linux", tmp_path)

        assert command == (str(node), str(script))

    def test_a_script_of_python_is_run_by_our_python(self, tmp_path: Path) -> None:
        script = program(tmp_path / "cli.py", mode=0o644)

        assert find_executable(str(script), "", "linux", tmp_path) == (sys.executable, str(script))

    def test_another_file_that_cannot_be_run_is_refused(self, tmp_path: Path) -> None:
        refused = refusal(str(program(tmp_path / "notes.txt", mode=0o644)), "", "linux", tmp_path)

        assert "not a program" in refused.message


class TestBatchShims:
    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            (NPM, "shims/node_modules/@membranehq/cli/dist/index.js"),
            (PNPM, "shims/global/5/node_modules/@membranehq/cli/dist/index.js"),
            (YARN, "Data/global/node_modules/.bin/membrane.cmd"),
        ],
        ids=["npm", "pnpm", "yarn"],
    )
    def test_a_shim_names_the_file_that_it_runs(
        self, tmp_path: Path, text: str, expected: str
    ) -> None:
        assert find_shim_target(text, tmp_path / "shims") == tmp_path / expected

    @pytest.mark.parametrize("text", ["", VOLTA, '"%_prog%" %*', '"node_modules\\x.js" %*'])
    def test_another_text_names_no_file(self, tmp_path: Path, text: str) -> None:
        assert find_shim_target(text, tmp_path) is None

    def test_a_shim_becomes_node_and_its_script(self, tmp_path: Path) -> None:
        node = program(tmp_path / "node.exe")
        program(tmp_path / "membrane.cmd", text=NPM)
        program(tmp_path / "membrane", text="#!/bin/sh")

        command = find_executable(None, str(tmp_path), "win32", tmp_path)

        script = tmp_path / "node_modules" / "@membranehq" / "cli" / "dist" / "index.js"
        assert command == (str(node), str(script))

    def test_a_shim_of_a_shim_is_followed(self, tmp_path: Path) -> None:
        node = program(tmp_path / "nodejs" / "node.exe")
        program(tmp_path / "bin" / "membrane.cmd", text=YARN)
        bin_folder = tmp_path / "Data/global/node_modules/.bin"
        program(bin_folder / "membrane.cmd", text='@"%~dp0\\..\\cli\\cli.js"   %*')

        path = f"{tmp_path / 'bin'};{node.parent}"
        command = find_executable(None, path, "win32", tmp_path)

        assert command == (str(node), str(tmp_path / "Data/global/node_modules/cli/cli.js"))

    def test_a_shim_that_runs_itself_is_refused(self, tmp_path: Path) -> None:
        program(tmp_path / "membrane.cmd", text='@"%~dp0\\membrane.cmd" %*')

        refusal(None, str(tmp_path), "win32", tmp_path)

    def test_a_shim_that_cannot_be_read_is_refused(self, tmp_path: Path) -> None:
        program(tmp_path / "membrane.cmd", text=VOLTA)

        refusal(None, str(tmp_path), "win32", tmp_path)

    def test_a_shim_without_node_is_refused(self, tmp_path: Path) -> None:
        program(tmp_path / "membrane.cmd", text=NPM)

        refused = refusal(None, str(tmp_path), "win32", tmp_path)

        assert "Node.js" in refused.message

    def test_the_usual_places_of_windows_are_looked_into(self, tmp_path: Path) -> None:
        found = program(tmp_path / "AppData" / "Roaming" / "npm" / "membrane.exe")

        assert find_executable(None, "", "win32", tmp_path) == (str(found),)


@posix
class TestThePathOfTheChild:
    def test_the_programs_folder_comes_first(self, tmp_path: Path) -> None:
        node = program(tmp_path / "nvm" / "node")

        path = search_path((str(node.with_name("membrane")),), "/usr/bin:/bin", "linux")

        assert path.split(":")[:3] == [str(node.parent), "/usr/bin", "/bin"]

    def test_a_folder_that_is_there_already_keeps_its_place(self, tmp_path: Path) -> None:
        first, second = program(tmp_path / "1" / "node"), program(tmp_path / "2" / "membrane")

        path = f"{first.parent}:{second.parent}"

        assert search_path((str(second),), path, "linux") == path

    def test_node_is_added_from_its_usual_place(self, tmp_path: Path) -> None:
        node = program(tmp_path / ".volta" / "bin" / "node")
        membrane = program(tmp_path / ".npm-global" / "bin" / "membrane")

        path = search_path((str(membrane),), "", "linux", tmp_path)

        assert path == f"{membrane.parent}:{node.parent}"

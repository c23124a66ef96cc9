"""The closure of dependencies: resolved, installed, described."""

from __future__ import annotations

import hashlib
import json
import os
import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dist import DIST, ROOT, WHEEL, Off, ran
from kartra_mcp import __version__
from release.licences import Dependency, normalize, read_licences

SBOM = DIST / f"kartra-mcp-{__version__}.cdx.json"
SPEC = "1.6"
_PIN = re.compile(r"(?m)^([A-Za-z0-9._-]+)==([^ ;\n]+)(?: ; (.+))?$")

VALIDATE = """
import sys
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
fault = JsonStrictValidator(SchemaVersion.V1_6).validate_str(open(sys.argv[1]).read())
sys.exit(str(fault) if fault else 0)
"""


@dataclass(frozen=True)
class Tools:
    """The programs of the packaging environment, and a folder for what they make."""

    programs: Path
    folder: Path

    def uv(self, *words: str | Path) -> str:
        env = {**os.environ, "VIRTUAL_ENV": ""}
        return ran([self.programs / "uv", *words], env=env, cwd=ROOT)

    def compile(self, *words: str) -> dict[str, tuple[str, str]]:
        """Return version and marker of each package that the project needs."""
        head = ("pip", "compile", "--quiet", "--no-header", "--no-annotate", "pyproject.toml")
        made = _PIN.findall(self.uv(*head, *words))
        return {
            normalize(name): (version, marker)
            for name, version, marker in made
            if "sys_platform == 'emscripten'" not in marker  # a browser is no place to serve from
        }

    def environment(self, name: str, *packages: str | Path, more: Iterable[str] = ()) -> Path:
        """Make an environment with these packages; return its folder."""
        made = self.folder / name
        self.uv("venv", "--quiet", "--clear", "--python", sys.executable, made)
        python = made / "bin" / "python"
        self.uv("pip", "install", "--quiet", "--python", python, *more, *packages)
        return made


def closure(tools: Tools, installed: Path) -> list[Dependency]:
    """Return every package that is needed on some system, with its licence.

    Those of other systems are downloaded too, as no package here would tell their licence.
    """
    everything = tools.compile("--universal", "--extra", "team")
    core = tools.compile("--universal")
    licences = read_licences(site_folders(installed))
    if elsewhere := sorted(everything.keys() - licences.keys()):
        folder = tools.folder / "elsewhere"
        pins = [f"{name}=={everything[name][0]}" for name in elsewhere]
        head = ("pip", "install", "--quiet", "--no-deps", "--python-platform", "windows")
        tools.uv(*head, "--upgrade", "--target", folder, *pins)
        licences |= read_licences([folder])
    return [
        Dependency(
            name,
            licences.get(name, ""),
            "all" if name in core else "team",
            "Windows" if "sys_platform == 'win32'" in marker else "",
        )
        for name, (_, marker) in everything.items()
    ]


def site_folders(environment: Path) -> list[Path]:
    return list(environment.glob("lib/python*/site-packages"))


def write_sbom(tools: Tools, installed: Path, licences: Mapping[str, str]) -> int:
    """Write the bill of materials of an environment; return its number of components.

    Raises:
        Off: it is not valid by its schema, or it depends on this machine.
    """
    program = tools.programs / "cyclonedx-py"
    words = ("--sv", SPEC, "--output-reproducible", "--pyproject", ROOT / "pyproject.toml")
    made = json.loads(ran([program, "environment", *words, installed / "bin" / "python"]))
    complete(made, licences)
    SBOM.write_text(json.dumps(made, indent=1, sort_keys=True) + "\n", "utf-8", newline="\n")
    ran([tools.programs / "python", "-c", VALIDATE, SBOM])
    if str(ROOT) in SBOM.read_text("utf-8"):
        raise Off(f"{SBOM.name} contains a path of this machine: {ROOT}")
    return len(made["components"])


def complete(made: dict[str, Any], licences: Mapping[str, str]) -> None:
    """Name the wheel as the subject, with its hash; give each component its one licence."""
    subject = made["metadata"]["component"]
    old = subject["bom-ref"]
    purl = f"pkg:pypi/kartra-mcp@{__version__}"
    digest = hashlib.sha256(WHEEL.read_bytes()).hexdigest()
    subject |= {
        "bom-ref": purl,
        "purl": purl,
        "version": __version__,
        "hashes": [{"alg": "SHA-256", "content": digest}],
    }
    made["components"] = [one for one in made["components"] if one["name"] != "kartra-mcp"]
    wanted = {purl, *(one["bom-ref"] for one in made["components"])}
    for line in made["dependencies"]:
        line["ref"] = purl if line["ref"] == old else line["ref"]
    made["dependencies"] = [line for line in made["dependencies"] if line["ref"] in wanted]
    for one in made["components"]:
        one.pop("externalReferences", None)  # some name the index of this machine
        if licence := licences.get(normalize(one["name"])):
            one["licenses"] = [{"expression": licence, "acknowledgement": "declared"}]

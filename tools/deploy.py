"""Check the files of a deployment offline: container file, chart, manifests, units, proxy."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import kubernetes_validate
from helm_python import Chart
from helm_python.chart import lint
from ruamel.yaml import YAML

ROOT = Path(__file__).parent.parent
DEPLOY = ROOT / "deploy"
CHART = DEPLOY / "chart" / "kartra-mcp"
MANIFESTS = DEPLOY / "manifests" / "kartra-mcp.yaml"
NAME = "kartra-mcp"
KUBERNETES = ("1.30", "1.33")
"""Oldest and newest version whose schemas the manifests must fit."""

WITH_QUERY = frozenset({"$request", "$request_uri", "$args", "$query_string", "$http_referer"})
"""Variables of nginx that contain the query of a request."""

HEADER = """\
# The chart's manifests with the example team file, made by `make deploy WRITE=1`.
# Before use: replace team.yaml below, and create the secrets kartra-mcp and kartra-mcp-owner.
"""
VARIANTS: Mapping[str, Mapping[str, Any]] = {
    "default": {},
    "everything": {
        "policies": {"main.toml": '[gates]\nirreversible = "human"\n'},
        "ingress": {"enabled": True, "className": "nginx", "annotations": {"example.com/a": "b"}},
        "anchors": {"existingClaim": "anchors"},
    },
    "least": {
        "replicas": 1,
        "migrate": {"enabled": False},
        "networkPolicy": {"enabled": False},
        "jobs": {"verify": "", "drift": ""},
    },
}


def main() -> int:
    """Print each fault; return 1 if there is one."""
    rendered = {name: render(values) for name, values in VARIANTS.items()}
    if "--write" in sys.argv:
        MANIFESTS.parent.mkdir(exist_ok=True)
        MANIFESTS.write_text(HEADER + rendered["default"])
    found = [
        *check_container_file(),
        *check_chart(),
        *(fault for name, text in rendered.items() for fault in check_objects(name, text)),
        *check_manifests(rendered["default"]),
        *check_units(),
        *check_proxy(),
    ]
    for fault in found:
        print(fault, file=sys.stderr)
    print(f"deployment: {len(found)} faults")
    return 1 if found else 0


def example() -> dict[str, Any]:
    return {"team": files("kartra_mcp.team").joinpath("example.yaml").read_text("utf-8")}


def render(values: Mapping[str, Any]) -> str:
    with Chart.load(CHART) as chart:
        given = {**example(), **values}
        chart.validate_schema(given)
        made = chart.render(values=given, name=NAME, namespace=NAME)
    texts = (text.strip() for _, text in sorted(made.items()) if not text.strip().startswith("{{"))
    return "".join(f"---\n{text.removeprefix('---').strip()}\n" for text in texts if text)


def check_container_file() -> Iterator[str]:
    # DL3008 is about apt; DL3013 and DL3042 hold. The only unpinned name is this project itself.
    done = run(["hadolint", str(DEPLOY / "Containerfile")])
    if done.returncode:
        yield f"Containerfile: {done.stdout or done.stderr}"
    text = (DEPLOY / "Containerfile").read_text()
    if not re.search(r"^USER [1-9][0-9]*:[1-9][0-9]*$", text, re.MULTILINE):
        yield "Containerfile: it must run as a user by number, not as root"


def check_chart() -> Iterator[str]:
    report = lint(CHART, example(), strict=True)
    yield from (f"chart: {error}" for error in report["errors"])
    with Chart.load(CHART) as chart:
        try:
            chart.validate_schema({"replicas": 0, "team": "nothing"})
        except Exception:  # noqa: BLE001  any refusal is the one that is wanted
            return
    yield "chart: its schema accepts values that no service could start with"


def check_objects(variant: str, text: str) -> Iterator[str]:
    """Validate each object against the schemas of Kubernetes, and our own rules for pods."""
    reader: Any = YAML(typ="safe", pure=True)
    for item in filter(None, reader.load_all(text)):
        about = f"{variant}: {item['kind']} {item['metadata']['name']}"
        for version in KUBERNETES:
            try:
                kubernetes_validate.validate(item, version, strict=True)
            except kubernetes_validate.ValidationError as problem:
                yield f"{about}: {problem.message} (Kubernetes {version})"
        yield from (f"{about}: {fault}" for fault in check_pod(item))


def check_pod(item: Mapping[str, Any]) -> Iterator[str]:
    spec = item.get("spec", {})
    spec = spec.get("jobTemplate", {}).get("spec", spec)
    pod = spec.get("template", {}).get("spec")
    if pod is None:
        return
    if not pod["securityContext"]["runAsNonRoot"] or pod["automountServiceAccountToken"]:
        yield "its pod runs as root, or gets a token of the cluster"
    for container in pod["containers"]:
        limits = container["securityContext"]
        if not limits["readOnlyRootFilesystem"] or limits["allowPrivilegeEscalation"]:
            yield f"the container {container['name']} can change its image or gain rights"


def check_manifests(rendered: str) -> Iterator[str]:
    if not MANIFESTS.exists() or MANIFESTS.read_text() != HEADER + rendered:
        yield "manifests: they differ from the chart; run `make deploy WRITE=1`"


def check_units() -> Iterator[str]:
    """Verify the units by systemd itself where it is there, and what they start everywhere."""
    units = sorted((DEPLOY / "systemd").iterdir())
    analyze = shutil.which("systemd-analyze")
    for unit in units if analyze else ():
        done = run([str(analyze), "verify", "--man=no", str(unit)])
        # The program is not installed here; that line is about this machine.
        lines = [
            x for x in done.stderr.splitlines() if unit.name in x and "not executable" not in x
        ]
        yield from (f"systemd: {line}" for line in lines)
    timers = {unit.stem.removeprefix(f"{NAME}-") for unit in units if unit.suffix == ".timer"}
    with Chart.load(CHART) as chart:
        if set(chart.values["jobs"]) != timers:
            yield "systemd: the jobs of the timers and of the chart differ"


def check_proxy() -> Iterator[str]:
    """Check the lines of the example that safety rests on; nginx itself is not needed."""
    text = (DEPLOY / "proxy" / "nginx.conf").read_text()
    if "proxy_next_upstream off;" not in text:
        yield "proxy: it may repeat a write at another replica"
    logged = set(re.findall(r"\$\w+", text.partition("log_format ")[2].partition(";")[0]))
    named = re.findall(r"access_log \S+ (\w+);", text)
    if not logged or logged & WITH_QUERY or len(named) != text.count("access_log "):
        yield "proxy: its log has the code of a login"


def run(words: list[str]) -> subprocess.CompletedProcess[str]:
    path = f"{Path(sys.executable).parent}:/usr/bin:/bin"
    program = shutil.which(words[0], path=path) or words[0]
    return subprocess.run([program, *words[1:]], capture_output=True, text=True, check=False)


if __name__ == "__main__":
    sys.exit(main())

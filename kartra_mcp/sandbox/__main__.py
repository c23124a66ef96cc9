"""The door of `python -m kartra_mcp.sandbox`; only hands the arguments over and ends."""

import sys

from kartra_mcp.sandbox.cli import main

sys.exit(main(sys.argv[1:]))

"""Entry point of `python -m kartra_mcp.sandbox`."""

import sys

from kartra_mcp.sandbox.cli import main

sys.exit(main(sys.argv[1:]))

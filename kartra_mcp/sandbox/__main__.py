"""Entry point of `python -m kartra_mcp.sandbox`."""

import sys

from kartra_mcp.sandbox.cli import main
from kartra_mcp.sandbox.program.surroundings import of_this_process

sys.exit(main(sys.argv[1:], of_this_process()))

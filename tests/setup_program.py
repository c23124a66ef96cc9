"""`kartra-mcp setup` as a process of its own whose programs that only start the sandbox do not.

For a real terminal and real signals. What a person uses on the terminal (the login, a browser)
is a process as always, and so is npm.
"""

from __future__ import annotations

import sys

import in_process

from kartra_mcp.cli.setup import setup_command

if __name__ == "__main__":
    sys.exit(setup_command(sys.argv[1:], run_program=in_process.run))

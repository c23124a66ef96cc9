"""`kartra-mcp setup` as a process that runs the sandbox's programs in itself.

For a real terminal and real signals. Programs that use the terminal (the login, a browser) are
processes as always, and so is npm.
"""

from __future__ import annotations

import sys

import in_process

from kartra_mcp.cli.setup import setup_command

if __name__ == "__main__":
    sys.exit(setup_command(sys.argv[1:], run_program=in_process.run))

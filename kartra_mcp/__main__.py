"""`python -m kartra_mcp` is `kartra-mcp`."""

from kartra_mcp.cli.main import main

if __name__ == "__main__":
    main()

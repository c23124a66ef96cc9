"""Print the request of each command tool for its documented example, for `make vendor`."""

from __future__ import annotations

import json
import sys

from command_examples import EXAMPLES

from kartra_mcp.kartra.command_requests import build_form
from kartra_mcp.kartra.form_encoding import encode_form


def main() -> int:
    found = {
        name: {
            "form": encode_form(build_form(name, example.given)),
            "effect": example.effect,
            "after": example.after,
            "holds": example.holds,
        }
        for name, example in EXAMPLES.items()
    }
    print(json.dumps(found))  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""A `membrane` with almost no run time: it prints a file that its first two words name.

`printer.py FOLDER VERB…` prints FOLDER/VERB or FOLDER/VERB-VERB.
"""

import sys

folder, words = sys.argv[1], sys.argv[2:]
name = words[0] if words[0].startswith("--") else "-".join(words[:2])
with open(f"{folder}/{name}", "rb") as answer:  # noqa: PTH123  pathlib costs time
    sys.stdout.buffer.write(answer.read())

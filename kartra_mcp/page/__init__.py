"""The page for the person: what waits for approval, what was done."""

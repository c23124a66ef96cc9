"""Programs that the cases start: what the server is measured against, or works with."""

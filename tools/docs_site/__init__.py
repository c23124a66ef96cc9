"""The documents as a site that needs no network: `make docs`. The steps are in `__main__`."""

"""Real clients on the real server: `make clients`. Modules are imported as `clients.NAME`."""

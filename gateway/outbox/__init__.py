"""Store and forward: every record on disk until each sink's acknowledgement."""

"""Several processes that answer for one node: one supervises and writes, the others share the port and read."""

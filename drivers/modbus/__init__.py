"""Modbus. Only `link`, `turns`, `opening`, `listening`, `broker` and `driver` do I/O; all else is pure."""

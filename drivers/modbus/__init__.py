"""Modbus TCP. Only `link` and `driver` open sockets; codec, encoding, framing, plan, search and writing are pure."""

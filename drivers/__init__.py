"""How a device is read. Knows no gateway."""

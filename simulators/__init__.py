"""What the world does: a virtual plant over real protocols, and the ledger that says what it served. Knows no gateway."""

"""The tree of identifier nodes around one that is under test: the top-level node above it, and a recursive node before it."""

"""Asking the nodes to which prefixes are delegated, and keeping what they said."""

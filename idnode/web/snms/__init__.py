"""The HTTP API of Chinese second-level nodes (SNMS), for tools that were made for those: docs/snms.md."""

"""Certificates of OPC UA applications: ours, those that we trust, and why another one is refused."""

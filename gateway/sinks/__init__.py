"""Northbound: each sink carries records from the outbox to one place."""

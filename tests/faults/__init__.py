"""Faults of processes and disks, systematically: what was acknowledged is neither lost nor altered."""

"""Announcements to subscribers: signed, retried, and to no address of our own house."""

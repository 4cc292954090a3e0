"""Registrations by the million as one stream of rows: how bytes become rows, and rows registrations. No I/O but the command's."""

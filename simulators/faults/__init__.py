"""Faults by script: when they come (schedule), what they do to an answer (effects). No I/O."""

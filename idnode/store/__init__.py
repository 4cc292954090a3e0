"""Where identifiers, enterprises and events are kept."""

"""What is made of readings between the driver and the filter: compression, windows, calculated tags, stale values."""

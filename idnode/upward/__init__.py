"""What a second-level node tells the top-level node above it: counted once, kept until it is acknowledged."""

"""What a node shows those who run it: metrics, health, slow requests, statistics; and what it refuses."""

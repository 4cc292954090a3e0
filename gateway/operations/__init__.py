"""What a gateway shows those who run it: an HTTP face for probes and metrics, the status command, the support bundle."""

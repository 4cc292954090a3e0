"""Who administers identifiers as Handle clients do, and what they may do with them."""

"""When to read, and how nothing is lost."""

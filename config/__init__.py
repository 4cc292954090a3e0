"""How settings are read: YAML in, checked settings or located problems out. Imports nothing of ours."""

"""The identifier schemes: pure functions that read a text into its parts in normal form, or refuse it with the reason."""

"""The identifier node: what an identifier means, who may know it, and what is kept about it."""

"""From "a part is finished" to a product event with an identifier of its own."""

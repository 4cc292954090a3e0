"""The whole chain on one machine: plant, gateway, broker, subscriber, idnode, and a verdict on all of it."""

"""The plant's OPC UA servers: the test bench, and devices by settings that misbehave by script."""

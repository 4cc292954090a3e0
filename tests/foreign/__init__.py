"""Against an OPC UA server that shares no line with ours: npm's node-opcua."""

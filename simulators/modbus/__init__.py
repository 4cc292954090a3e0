"""Modbus as a device speaks it: framings, answers, connections and transports."""

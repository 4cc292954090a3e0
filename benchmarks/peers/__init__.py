"""Our gateway beside ThingsBoard Gateway and Node-RED, on the same simulated devices and broker. See __main__.py."""

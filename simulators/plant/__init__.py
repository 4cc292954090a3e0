"""The physics of the plant: pure, seeded, a function of time. No I/O, no clock of its own."""

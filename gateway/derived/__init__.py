"""Eyes for machines without data of their own: states, counts, cycles, stops, OEE, energy, from lamps, clamps and pulses."""

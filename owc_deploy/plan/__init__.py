"""Desired against observed state, to a saved plan. Pure: no I/O, time and randomness come in."""

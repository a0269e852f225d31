"""Telling people: which channels hear of an event, what they read, and how it reaches them."""

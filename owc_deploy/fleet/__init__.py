"""The documents of a fleet: from YAML text to frozen models, with every problem at once."""

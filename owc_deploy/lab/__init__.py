"""Throw-away servers on this machine (systemd-nspawn) for the demo, molecule and tests."""

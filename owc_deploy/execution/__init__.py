"""The only door to the servers: inventory, ansible-runner, events to outcomes, probe."""

"""What runs on a server: standard library only, for the server's own Python, 3.9 or newer."""

"""What can be proven of a fleet to somebody who was not there."""

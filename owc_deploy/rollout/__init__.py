"""The operations that change servers: apply, roll back, provision."""

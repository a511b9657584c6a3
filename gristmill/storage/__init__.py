"""Bytes by URI: reading with retries, writing, creating if absent, hashing, leases. For pipeline and trainer."""

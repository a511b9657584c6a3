"""The trainer's configuration, and what follows from its phases."""

"""What is done to a finished output: verify, clean, remove."""

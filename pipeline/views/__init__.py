"""What looks into an output, and writes no step of it."""

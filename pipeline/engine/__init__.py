"""Tasks, commits, checks, the exchange and Ray. Knows no stage."""

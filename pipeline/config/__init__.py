"""The configuration of a run: its keys, the list of stages, and when each of them runs."""

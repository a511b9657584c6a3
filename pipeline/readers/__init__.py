"""Sources to record batches: the inventory, its segments, and one file a format."""

"""What a run is made of, from the first pass to the shards."""

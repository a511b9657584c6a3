"""`gristmill explain`: one document's way through all steps, its duplicates, its place in the shards."""

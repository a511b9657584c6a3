"""Samples from token shards: which window of which shard set comes when, and reading it ahead."""

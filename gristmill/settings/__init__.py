"""Configurations from YAML: where each value stands, and a sentence for each mistake. For pipeline and trainer."""

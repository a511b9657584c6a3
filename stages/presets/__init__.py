"""Rules as tables, one preset a file; `table` has them by name."""

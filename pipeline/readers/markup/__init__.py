"""The languages that documents are written in: markup in, plain text out."""

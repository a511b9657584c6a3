"""Nemotron: its shape, its layers, its weights by name."""

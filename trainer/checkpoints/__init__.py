"""Checkpoints: their files, saving and loading them, exchange with Hugging Face."""

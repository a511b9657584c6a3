"""The commands of `gristmill train`."""

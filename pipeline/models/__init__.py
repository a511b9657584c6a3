"""Models that are trained from a corpus: language models and quality classifiers."""

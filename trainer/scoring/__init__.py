"""What a model can do: held-out loss, benchmarks, generated text."""

"""Many processes as one: groups, collectives, tensor and pipeline parallelism, ZeRO-1's reductions and gathers."""

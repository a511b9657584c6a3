"""`gristmill quality train`: fastText classifiers for the stage `quality`."""

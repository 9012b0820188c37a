"""One run of the active-learning loop, independent of who does the work: selection, shards, oracle, workers."""

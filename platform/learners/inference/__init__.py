"""From a network's output to a prediction: decoding, counting, region features."""

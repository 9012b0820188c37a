"""Networks that more than one learner may use."""

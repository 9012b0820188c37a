"""The networks that learners train, and what they offer to training and prediction."""

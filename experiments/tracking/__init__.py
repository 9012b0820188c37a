"""Everything of MLflow: what is logged of a run, and the one thread that writes it."""

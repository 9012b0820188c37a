"""Ray: the worker processes of a run, the coordinator of a run, the scheduler of all runs."""

"""What a user runs: command line, experiment files, tracker, report."""

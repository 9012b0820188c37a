"""Everything that concerns MLflow, which mirrors what is committed and which nothing else reads.

uris                    where MLflow's store is, and how that is shown
fields                  what MLflow is told about a run: names, parameters, tags and metrics, as plain data
regions_csv             the regions of a cycle as a table for annotators
mlflow_experiment       one experiment of MLflow; the only module that imports it
tracker                 mirrors committed cycles and reports into an experiment
mirror                  the one thread that writes, so that training never waits
"""

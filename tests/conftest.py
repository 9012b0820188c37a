import os

from hypothesis import settings

# Read when ray is imported: no message to anybody's server, no token file in anybody's home.
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
os.environ["RAY_AUTH_MODE"] = "disabled"
os.environ["PYTHONPATH"] = os.pathsep.join([os.path.dirname(__file__), os.environ.get("PYTHONPATH", "")])

# No test is about time, and other processes may be busy.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

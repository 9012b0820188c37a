"""The one writer of MLflow, which mirrors committed cycles from disk.

The records on disk are the truth, so MLflow may be down, deleted or late: `Tracker.mirror` logs what a run's page does not
have yet, in a live experiment as in `decomp sync`. Doing it again adds nothing, because every metric carries the time at
which its cycle was committed.
"""

import fcntl
import hashlib
import logging
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from itertools import batched as _batched  # type: ignore[attr-defined]
from pathlib import Path
from typing import Any

from decomp.experiments.comparison import compare

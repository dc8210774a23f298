"""Settings for all tests: each worker computes on one thread, so that workers do not fight for the cores."""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

"""What all tests share: the amount of generated scenarios, and the slow references on the path."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from hypothesis import HealthCheck, settings

# Helpers of several test files live in tests/reference (tests are no package, on purpose).
sys.path.insert(0, str(Path(__file__).parent / "reference"))

QUIET = [HealthCheck.too_slow, HealthCheck.data_too_large]
settings.register_profile(
    "default", max_examples=200, deadline=None, derandomize=True, suppress_health_check=QUIET
)
settings.register_profile("long", max_examples=2000, deadline=None, suppress_health_check=QUIET)
settings.load_profile(os.environ.get("PERPWALK_PROFILE", "default"))

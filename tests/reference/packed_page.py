"""Take apart what a page carries packed, as its script does."""

from __future__ import annotations

import base64
import gzip
import json
import struct
from typing import Any

import numpy as np


def opened(sealed: str) -> tuple[dict[str, Any], bytes]:
    """Return document and arrays of a sealed pack."""
    whole = gzip.decompress(base64.b64decode(sealed))
    length = struct.unpack("<I", whole[:4])[0]
    return json.loads(whole[4 : 4 + length]), whole[4 + length :]


def array(place: dict[str, Any], blob: bytes) -> Any:
    """Return the array that lies at a place."""
    return np.frombuffer(blob, dtype=f"<{place['as']}", count=place["n"], offset=place["at"])

"""Pack a page's data: one JSON document and its arrays, compressed, as one line of base64.

Layout before compression: length of the JSON as four little-endian bytes, the JSON, zeros up to a
multiple of eight, the arrays one after another, each at a multiple of eight. An array in the JSON
is ``{"at": byte, "n": length, "as": "f4"}``. ``assets/unpack.js`` is the other half.
"""

from __future__ import annotations

import base64
import gzip
import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from perpwalk import runs
from perpwalk.domain import to_ns

ALIGN = 8
MANY_TEXTS = 0.5  # texts that repeat less than this are kept as they are, not by number
_MS = 1_000_000
Packed = dict[str, Any]


@dataclass
class Pack:
    """Collects arrays, hands out what stands for them in the document."""

    blobs: list[bytes] = field(default_factory=list)
    size: int = 0

    def numbers(self, values: npt.ArrayLike, kind: str = "f4") -> Packed:
        """Keep numbers as ``f4``, ``f8``, ``i4`` or ``u1``; undefined ones as NaN."""
        array = np.ascontiguousarray(values, dtype=np.dtype(kind).newbyteorder("<"))
        place = {"at": self.size, "n": len(array), "as": kind}
        blob = array.tobytes()
        self.blobs.append(blob + bytes(-len(blob) % ALIGN))
        self.size += len(self.blobs[-1])
        return place

    def stamps(self, stamps: pd.DatetimeIndex) -> Packed:
        """Keep stamps as milliseconds: a step where they are even, else their distances."""
        values = to_ns(stamps) // _MS
        if len(values) == 0:
            return {"first": 0, "step": 0, "n": 0}
        steps = np.diff(values)
        first = int(values[0])
        if len(steps) == 0 or (steps == steps[0]).all():
            return {"first": first, "step": int(steps[0]) if len(steps) else 0, "n": len(values)}
        if np.abs(steps).max() < 2**31:
            return {"first": first, "steps": self.numbers(steps, "i4")}
        return {"all": self.numbers(values, "f8")}

    def column(self, values: pd.Series) -> Packed:
        """Keep one column of a table, with its kind: time, number, flag or text."""
        if isinstance(values.dtype, pd.DatetimeTZDtype):
            if values.isna().any():
                known = values.dt.as_unit("ms").astype("int64").astype(float)
                return {"kind": "time", "all": self.numbers(known.mask(values.isna()), "f8")}
            return {"kind": "time", **self.stamps(pd.DatetimeIndex(values))}
        if pd.api.types.is_bool_dtype(values.dtype):
            told = values.astype(object).map({True: "yes", False: "no"}).fillna("")
            return {"kind": "text", **self._texts(told.astype(str))}
        if pd.api.types.is_numeric_dtype(values.dtype):
            known = values.astype("Float64").to_numpy(dtype=float, na_value=np.nan)
            if np.isfinite(known).any() or values.dtype != float:
                return {"kind": "number", "values": self.numbers(known, "f8")}
        told = values.astype(object).where(values.notna(), "").map(str)
        return {"kind": "text", **self._texts(told)}

    def _texts(self, texts: pd.Series) -> Packed:
        codes, names = pd.factorize(texts)
        if len(names) > MANY_TEXTS * len(texts):
            return {"texts": [str(text) for text in texts]}
        return {"names": [str(name) for name in names], "codes": self.numbers(codes, "i4")}

    def table(self, frame: pd.DataFrame) -> Packed:
        """Keep a whole table: its columns in order."""
        columns = [{"name": str(name), **self.column(frame[name])} for name in frame.columns]
        return {"rows": len(frame), "columns": columns}

    def seal(self, document: Mapping[str, Any]) -> str:
        """Return document and arrays as base64 text; the same content gives the same text."""
        text = json.dumps(runs.plain(dict(document)), allow_nan=False, ensure_ascii=False)
        head = text.encode()
        head += b" " * (-(4 + len(head)) % ALIGN)
        whole = struct.pack("<I", len(head)) + head + b"".join(self.blobs)
        return compressed(whole)


def compressed(content: bytes) -> str:
    """Return bytes as gzip, as base64; no date in it."""
    return base64.b64encode(gzip.compress(content, 6, mtime=0)).decode("ascii")

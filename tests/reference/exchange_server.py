"""Binance's archive and the APIs of Binance, Bybit and OKX on the loopback interface.

Serves one made-up market in the formats of the real services, with their habits: Binance pages
forwards, Bybit and OKX backwards, all cap their pages, the newest bar is still forming. A share of
responses is faulty to order. ``served`` records what was handed out in good answers.
"""

from __future__ import annotations

import hashlib
import io
import json
import random
import sys
import threading
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pandas as pd

HOUR = 3_600_000
DAY = 24 * HOUR
INTERVALS = {"1h": HOUR, "15m": HOUR // 4, "4h": 4 * HOUR}
BYBIT_INTERVALS = {"60": HOUR, "15": HOUR // 4, "240": 4 * HOUR}
OKX_INTERVALS = {"1H": HOUR, "15m": HOUR // 4, "4H": 4 * HOUR}

FAULTS = (
    "429", "418", "500", "html", "dropped", "truncated", "cut", "empty", "short", "overlap",
    "corrupt",
)  # fmt: skip


def ms(text: str) -> int:
    """Return milliseconds of a time in UTC."""
    return int(pd.Timestamp(text).as_unit("ns").value) // 10**6


@dataclass
class Market:
    """A contract from its listing on: rows are a function of their stamp alone."""

    symbol: str = "ETHUSDT"
    listed: int = ms("2019-11-27T07:00")
    delisted: int | None = None
    lost: tuple[int, ...] = ()  # stamps of bars that no source has
    archive_lost: tuple[int, ...] = ()  # stamps of bars that only the archive lacks

    def stamps(self, start: int, end: int, step: int) -> np.ndarray:
        first = -(-max(start, self.listed) // step) * step
        last = end if self.delisted is None else min(end, self.delisted)
        found = np.arange(first, max(first, last), step, dtype=np.int64)
        return found[~np.isin(found, self.lost)]

    @staticmethod
    def noise(stamps: np.ndarray, salt: int) -> np.ndarray:
        """Return numbers in [0, 1) that depend on the stamp alone."""
        mixed = (stamps.astype(np.uint64) // np.uint64(1000)) * np.uint64(2654435761 + 2 * salt + 1)
        mixed ^= mixed >> np.uint64(13)
        mixed *= np.uint64(0x5BD1E995)
        return ((mixed >> np.uint64(11)) % np.uint64(100_000)).astype(float) / 100_000

    def bars(self, start: int, end: int, step: int, kind: str) -> list[list[str | int]]:
        """Return open time, open, high, low, close, volume as exchanges write them."""
        salt = 0 if kind == "ohlcv" else 50
        stamps = self.stamps(start, end, step)
        close = 2000 + 300 * np.sin(stamps / (40 * DAY)) + 20 * self.noise(stamps, salt)
        open_ = 2000 + 300 * np.sin(stamps / (40 * DAY)) + 20 * self.noise(stamps, salt + 1)
        high = np.maximum(open_, close) + 5 * self.noise(stamps, salt + 2)
        low = np.minimum(open_, close) - 5 * self.noise(stamps, salt + 3)
        volume = 1000 + 500 * self.noise(stamps, salt + 4)
        columns = [[f"{v:.2f}" for v in values] for values in (open_, high, low, close)]
        columns.append([f"{v:.3f}" if kind == "ohlcv" else "0" for v in volume])
        return [list(row) for row in zip(stamps.tolist(), *columns, strict=True)]

    def funding(self, start: int, end: int) -> list[tuple[int, str]]:
        """Return stamps (some milliseconds late, as they are) and rates."""
        stamps = self.stamps(start - 8 * HOUR, end, 8 * HOUR)
        late = stamps + (9 * self.noise(stamps, 70)).astype(np.int64)
        rates = 0.0001 + 0.0003 * (self.noise(stamps, 71) - 0.5)
        rows = zip(late.tolist(), (f"{rate:.8f}" for rate in rates), strict=True)
        return [row for row in rows if start <= row[0] < end]

    def interest(self, start: int, end: int, step: int) -> list[tuple[int, str, str]]:
        """Return stamps, open interest in coins and in dollars."""
        stamps = self.stamps(start, end, step)
        size = 500_000 + 1000 * self.noise(stamps, 80)
        return [
            (stamp, f"{v:.3f}", f"{2000 * v:.2f}")
            for stamp, v in zip(stamps.tolist(), size, strict=True)
        ]


@dataclass(frozen=True)
class Served:
    """One good answer: what was asked for, and the stamps that were handed out."""

    series: str  # klines, markPriceKlines, fundingRate …: the archive and the API say the same
    file: str  # the archive's file; empty for the API
    stamps: tuple[int, ...]


class BadRequestError(Exception):
    """The service refuses the request as a client's mistake."""


@dataclass
class Services:
    """All services, and what they are told to do wrong."""

    now: int
    markets: dict[str, Market] = field(default_factory=lambda: {"ETHUSDT": Market()})
    archive_until: int | None = None  # the archive has whole months that end before this
    monthly_until: int | None = None  # … and months only up to here; days follow
    fault_share: float = 0.0
    faults: tuple[str, ...] = FAULTS
    seed: int = 0
    served: list[Served] = field(default_factory=list)
    requests: int = 0
    faulty: dict[str, int] = field(default_factory=dict)
    on_request: Callable[[int], None] = lambda _: None
    corrupt_for_good: tuple[str, ...] = ()  # names of files whose bytes never fit their checksum
    down: tuple[str, ...] = ()  # names of files that are never answered but with 500
    silent_first: int = 0  # so many requests are left without an answer until the client hangs up
    header: bool = True
    micros: bool = False

    def __post_init__(self) -> None:
        self._draw = random.Random(self.seed)  # noqa: S311
        self._lock = threading.Lock()
        self._lied_last: dict[str, str] = {}
        self._zips: dict[str, tuple[bytes, list[int]]] = {}
        self._paths: dict[str, list[str]] = {}

    def fault(self, resource: str) -> str | None:
        """Draw a fault; the same resource is not told the same lie twice in a row."""
        with self._lock:
            self.requests += 1
            number = self.requests
            drawn = None
            if self._draw.random() < self.fault_share:
                drawn = self._draw.choice(self.faults)
            if drawn is not None and self._lied_last.get(resource) == drawn:
                drawn = None
            self._lied_last[resource] = drawn or ""
            if drawn:
                self.faulty[drawn] = self.faulty.get(drawn, 0) + 1
        self.on_request(number)
        return drawn

    def note(self, series: str, file: str, stamps: list[int]) -> None:
        with self._lock:
            self.served.append(Served(series, file, tuple(stamps)))

    def market(self, symbol: str) -> Market:
        if symbol not in self.markets:
            raise BadRequestError(symbol)
        return self.markets[symbol]

    # ── the archive ──────────────────────────────────────────────────────────────────────────────

    def listing(self, query: dict[str, str]) -> bytes:
        """Return one page of the bucket's listing: at most 1,000 names after the marker."""
        names = sorted(
            name
            for path in self.archive_paths(query["prefix"])
            for name in (path, f"{path}.CHECKSUM")
        )
        after = [name for name in names if name > query.get("marker", "")]
        shown = "".join(f"<Contents><Key>{name}</Key></Contents>" for name in after[:1000])
        cut = str(len(after) > 1000).lower()
        return (
            f"<ListBucketResult><IsTruncated>{cut}</IsTruncated>{shown}</ListBucketResult>"
        ).encode()

    def archive_paths(self, prefix: str) -> list[str]:
        """Return the zip files of a folder."""
        if prefix not in self._paths:
            self._paths[prefix] = list(self._find_paths(prefix))
        return self._paths[prefix]

    def _find_paths(self, prefix: str) -> Iterator[str]:
        _, _, _, length, folder, symbol, *more = prefix.strip("/").split("/")
        market = self.markets.get(symbol)
        offered = {"klines", "markPriceKlines"} | (
            {"fundingRate"} if length == "monthly" else {"metrics"}
        )
        if market is None or folder not in offered or self.archive_until is None:
            return
        until = self.archive_until
        if length == "monthly" and self.monthly_until is not None:
            until = self.monthly_until
        last = until if market.delisted is None else min(until, market.delisted + 31 * DAY)
        stem = f"{symbol}-{more[0] if more else folder}"
        unit, form = ("MS", "%Y-%m") if length == "monthly" else ("D", "%Y-%m-%d")
        start = pd.Timestamp(market.listed, unit="ms").normalize()
        first = start.replace(day=1) if length == "monthly" else start
        for at in pd.date_range(first, pd.Timestamp(last, unit="ms"), freq=unit):
            end = at + (pd.DateOffset(months=1) if length == "monthly" else pd.Timedelta(days=1))
            begun = market.delisted is None or at.as_unit("ns").value // 10**6 < market.delisted
            if end.as_unit("ns").value // 10**6 <= until and begun:
                yield f"{prefix}{stem}-{at.strftime(form)}.zip"

    def zipped(self, path: str) -> tuple[bytes, list[int]]:
        """Return an archive file and the stamps in it."""
        if path in self._zips:
            return self._zips[path]
        name = path.rsplit("/", 1)[-1].removesuffix(".zip")
        parts = path.split("/")
        folder, market = parts[4], self.markets[parts[5]]
        form = r"%Y-%m" if parts[3] == "monthly" else "%Y-%m-%d"
        date = name[-7:] if parts[3] == "monthly" else name[-10:]
        at = pd.to_datetime(date, format=form)
        end = at + (pd.DateOffset(months=1) if parts[3] == "monthly" else pd.Timedelta(days=1))
        lines, stamps = self._lines(market, folder, parts, ms(str(at)), ms(str(end)))
        stream = io.BytesIO()
        with zipfile.ZipFile(stream, "w") as archive:
            info = zipfile.ZipInfo(f"{name}.csv", (2024, 1, 1, 0, 0, 0))
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, "\n".join(lines) + "\n")
        self._zips[path] = stream.getvalue(), stamps
        return self._zips[path]

    def _lines(
        self, market: Market, folder: str, parts: list[str], start: int, end: int
    ) -> tuple[list[str], list[int]]:
        scale = 1000 if self.micros else 1
        if folder == "fundingRate":
            rows = market.funding(start, end)
            head = "calc_time,funding_interval_hours,last_funding_rate"
            lines = [f"{stamp},8,{rate}" for stamp, rate in rows]
            return ([head] * self.header) + lines, [stamp for stamp, _ in rows]
        if folder == "metrics":
            interest = market.interest(start, end, 300_000)
            head = "create_time,symbol,sum_open_interest,sum_open_interest_value,count_long_short"
            lines = [
                f"{pd.Timestamp(t, unit='ms'):%Y-%m-%d %H:%M:%S},{market.symbol},{a},{b},1.0"
                for t, a, b in interest
            ]
            return [head, *lines], [row[0] for row in interest]
        step = INTERVALS[parts[6]]
        kind = "ohlcv" if folder == "klines" else "mark"
        bars = [b for b in market.bars(start, end, step, kind) if b[0] not in market.archive_lost]
        head = (
            "open_time,open,high,low,close,volume,close_time,quote_volume,count,"
            "taker_buy_volume,taker_buy_quote_volume,ignore"
        )
        lines = [
            f"{b[0] * scale},{','.join(map(str, b[1:]))},{(b[0] + step) * scale - 1},1.0,7,1,1,0"
            for b in bars
        ]
        return ([head] * self.header) + lines, [b[0] for b in bars]

    # ── the APIs ─────────────────────────────────────────────────────────────────────────────────

    def api(self, path: str, query: dict[str, str]) -> tuple[Any, list[Any] | None]:
        """Return the answer and the list of records inside it, None where it has no pages."""
        if path in _CONTRACTS:
            return _CONTRACTS[path](self, query), None
        if path in _TIMES:
            return _TIMES[path](self.now), None
        name, wrap, page = _PAGED[path]
        records = page(self, query)
        return wrap(name, records), records


# Each page function returns the records as the service lists them, newest or oldest first.


def _binance_bars(kind: str) -> Callable[[Services, dict[str, str]], list[Any]]:
    def page(services: Services, query: dict[str, str]) -> list[Any]:
        step = INTERVALS[query["interval"]]
        end = min(int(query.get("endTime", services.now)), services.now)
        rows = services.market(query["symbol"]).bars(int(query["startTime"]), end + 1, step, kind)
        limit = min(int(query.get("limit", 500)), 1500)
        return [[*b, b[0] + step - 1, "1.0", 7, "1", "1", "0"] for b in rows][:limit]

    return page


def _binance_funding(services: Services, query: dict[str, str]) -> list[Any]:
    end = min(int(query.get("endTime", services.now)), services.now)
    market = services.market(query["symbol"])
    rows = market.funding(int(query["startTime"]), end + 1)[: min(int(query["limit"]), 1000)]
    return [
        {"symbol": market.symbol, "fundingTime": t, "fundingRate": r, "markPrice": ""}
        for t, r in rows
    ]


def _binance_interest(services: Services, query: dict[str, str]) -> list[Any]:
    step = INTERVALS[query["period"]]
    start = int(query["startTime"])
    if start < services.now - 30 * DAY:
        raise BadRequestError("parameter 'startTime' is invalid.")
    rows = services.market(query["symbol"]).interest(start, int(query["endTime"]) + 1, step)
    return [
        {"symbol": query["symbol"], "timestamp": t, "sumOpenInterest": a, "sumOpenInterestValue": v}
        for t, a, v in rows
    ][: min(int(query["limit"]), 500)]


def _newest(rows: list[Any], limit: int) -> list[Any]:
    return rows[::-1][:limit]


def _bybit_bars(kind: str) -> Callable[[Services, dict[str, str]], list[Any]]:
    def page(services: Services, query: dict[str, str]) -> list[Any]:
        step = BYBIT_INTERVALS[query["interval"]]
        end = min(int(query.get("end", services.now)), services.now)
        rows = services.market(query["symbol"]).bars(int(query["start"]), end + 1, step, kind)
        texts = [
            [str(b[0]), *b[1:], "1.0"] if kind == "ohlcv" else [str(b[0]), *b[1:5]] for b in rows
        ]
        return _newest(texts, min(int(query["limit"]), 1000))

    return page


def _bybit_funding(services: Services, query: dict[str, str]) -> list[Any]:
    market = services.market(query["symbol"])
    if "startTime" in query and "endTime" not in query:
        raise BadRequestError("endTime is required with startTime")
    rows = market.funding(int(query["startTime"]), min(int(query["endTime"]), services.now) + 1)
    texts = [
        {"symbol": market.symbol, "fundingRate": r, "fundingRateTimestamp": str(t)} for t, r in rows
    ]
    return _newest(texts, min(int(query["limit"]), 200))


def _bybit_interest(services: Services, query: dict[str, str]) -> list[Any]:
    market = services.market(query["symbol"])
    end = min(int(query["endTime"]), services.now)
    rows = market.interest(int(query["startTime"]), end + 1, HOUR)
    texts = [{"openInterest": a, "timestamp": str(t)} for t, a, _ in rows]
    return _newest(texts, min(int(query["limit"]), 200))


def _okx_id(services: Services, query: dict[str, str]) -> Market:
    return services.market(query["instId"].removesuffix("-SWAP").replace("-", ""))


def _okx_bars(kind: str, cap: int) -> Callable[[Services, dict[str, str]], list[Any]]:
    def page(services: Services, query: dict[str, str]) -> list[Any]:
        step = OKX_INTERVALS[query["bar"]]
        end = min(int(query.get("after", services.now + 1)), services.now + 1)
        rows = _okx_id(services, query).bars(int(query["before"]) + 1, end, step, kind)
        texts = [
            [str(b[0]), *b[1:5], "1", b[5], "9", "1"]
            if kind == "ohlcv"
            else [str(b[0]), *b[1:5], "1"]
            for b in rows
        ]
        return _newest(texts, min(int(query["limit"]), cap))

    return page


def _okx_funding(services: Services, query: dict[str, str]) -> list[Any]:
    end = min(int(query.get("after", services.now + 1)), services.now + 1)
    rows = _okx_id(services, query).funding(int(query["before"]) + 1, end)
    texts = [
        {
            "instId": query["instId"], "fundingTime": str(t), "fundingRate": "0.5",
            "realizedRate": r,
        }
        for t, r in rows
    ]  # fmt: skip
    return _newest(texts, min(int(query["limit"]), 100))


def _okx_interest(services: Services, query: dict[str, str]) -> list[Any]:
    rows = _okx_id(services, query).interest(int(query["begin"]) + 1, int(query["end"]), HOUR)
    return _newest([[str(t), a, a, v] for t, a, v in rows], min(int(query["limit"]), 100))


def _binance_contracts(services: Services, query: dict[str, str]) -> Any:
    return {
        "serverTime": services.now,
        "symbols": [
            {
                "symbol": m.symbol, "pair": m.symbol, "contractType": "PERPETUAL",
                "deliveryDate": 4133404800000, "onboardDate": m.listed, "status": "TRADING",
                "baseAsset": m.symbol[:-4], "quoteAsset": "USDT", "marginAsset": "USDT",
                "pricePrecision": 2, "quantityPrecision": 3, "baseAssetPrecision": 8,
                "quotePrecision": 8, "underlyingType": "COIN", "filters": [],
            }
            for m in services.markets.values()
            if m.delisted is None
        ],
    }  # fmt: skip


def _bybit_contracts(services: Services, query: dict[str, str]) -> Any:
    listed = [] if query.get("status") == "PreLaunch" else services.markets.values()
    return {
        "retCode": 0, "retMsg": "OK", "retExtInfo": {}, "time": services.now,
        "result": {
            "category": "linear", "nextPageCursor": "",
            "list": [
                {
                    "symbol": m.symbol, "contractType": "LinearPerpetual", "status": "Trading",
                    "baseCoin": m.symbol[:-4], "quoteCoin": "USDT", "settleCoin": "USDT",
                    "launchTime": str(m.listed), "deliveryTime": "0", "priceScale": "2",
                    "leverageFilter": {"minLeverage": "1", "maxLeverage": "100"},
                    "priceFilter": {"tickSize": "0.01"}, "fundingInterval": 480,
                    "lotSizeFilter": {"minOrderQty": "0.01", "qtyStep": "0.01"},
                }
                for m in listed
                if m.delisted is None
            ],
        },
    }  # fmt: skip


def _okx_contracts(services: Services, query: dict[str, str]) -> Any:
    return {
        "code": "0", "msg": "",
        "data": [
            {
                "instType": "SWAP", "instId": f"{m.symbol[:-4]}-USDT-SWAP", "ctType": "linear",
                "instFamily": f"{m.symbol[:-4]}-USDT", "uly": f"{m.symbol[:-4]}-USDT",
                "settleCcy": "USDT", "ctVal": "0.1", "ctMult": "1", "ctValCcy": m.symbol[:-4],
                "baseCcy": "", "quoteCcy": "", "state": "live", "tickSz": "0.01", "lotSz": "0.01",
                "minSz": "0.01", "lever": "100", "listTime": str(m.listed), "expTime": "",
            }
            for m in services.markets.values()
            if m.delisted is None
        ],
    }  # fmt: skip


def _bybit_wrap(name: str, records: list[Any]) -> Any:
    return {
        "retCode": 0,
        "retMsg": "OK",
        "result": {"category": "linear", name: records},
        "time": 1,
    }


def _okx_wrap(name: str, records: list[Any]) -> Any:
    return {"code": "0", "msg": "", name: records}


def _plain_wrap(name: str, records: list[Any]) -> Any:
    return records


_CONTRACTS = {
    "/fapi/v1/exchangeInfo": _binance_contracts,
    "/v5/market/instruments-info": _bybit_contracts,
    "/api/v5/public/instruments": _okx_contracts,
}
_TIMES: dict[str, Callable[[int], Any]] = {
    "/fapi/v1/time": lambda now: {"serverTime": now},
    "/v5/market/time": lambda now: {"retCode": 0, "retMsg": "OK", "result": {}, "time": now},
    "/api/v5/public/time": lambda now: {"code": "0", "msg": "", "data": [{"ts": str(now)}]},
}
_PAGED: dict[str, tuple[str, Callable[..., Any], Callable[..., list[Any]]]] = {
    "/fapi/v1/klines": ("", _plain_wrap, _binance_bars("ohlcv")),
    "/fapi/v1/markPriceKlines": ("", _plain_wrap, _binance_bars("mark")),
    "/fapi/v1/fundingRate": ("", _plain_wrap, _binance_funding),
    "/futures/data/openInterestHist": ("", _plain_wrap, _binance_interest),
    "/v5/market/kline": ("list", _bybit_wrap, _bybit_bars("ohlcv")),
    "/v5/market/mark-price-kline": ("list", _bybit_wrap, _bybit_bars("mark")),
    "/v5/market/funding/history": ("list", _bybit_wrap, _bybit_funding),
    "/v5/market/open-interest": ("list", _bybit_wrap, _bybit_interest),
    "/api/v5/market/candles": ("data", _okx_wrap, _okx_bars("ohlcv", 300)),
    "/api/v5/market/history-candles": ("data", _okx_wrap, _okx_bars("ohlcv", 100)),
    "/api/v5/market/mark-price-candles": ("data", _okx_wrap, _okx_bars("mark", 100)),
    "/api/v5/market/history-mark-price-candles": ("data", _okx_wrap, _okx_bars("mark", 100)),
    "/api/v5/public/funding-rate-history": ("data", _okx_wrap, _okx_funding),
    "/api/v5/rubik/stat/contracts/open-interest-history": ("data", _okx_wrap, _okx_interest),
}


def _stamp(record: Any) -> int:
    if isinstance(record, list):
        return int(record[0])
    keys = ("fundingTime", "fundingRateTimestamp", "timestamp")
    return int(next(record[key] for key in keys if key in record))


# ── HTTP ─────────────────────────────────────────────────────────────────────────────────────────


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1
    disable_nagle_algorithm = True  # else head and body wait for each other's acknowledgement
    services: Services

    def log_message(self, *args: Any) -> None:
        """Stay quiet."""

    def do_GET(self) -> None:
        address = urlsplit(self.path)
        query = {key: values[0] for key, values in parse_qs(address.query).items()}
        fault = self.services.fault(self.path)
        if self.services.requests <= self.services.silent_first:
            self.connection.recv(1)  # returns when the client gives up
            self.close_connection = True
            return
        if address.path.rsplit("/", 1)[-1] in self.services.down:
            fault = "500"
        if fault in ("429", "418"):
            self.send(int(fault), b'{"code":-1003,"msg":"Too many requests"}', {"Retry-After": "2"})
        elif fault == "500":
            self.send(500, b"")
        elif fault == "html":
            self.send(200, b"<html><body>Bad gateway</body></html>", kind="text/html")
        elif fault == "dropped":
            self.close_connection = True
            self.connection.close()
        elif address.path == "/bucket":
            self.body(self.services.listing(query), fault)
        elif address.path.startswith("/archive/"):
            self.archive(address.path.removeprefix("/archive/"), fault)
        else:
            self.api(address.path, query, fault)

    def archive(self, path: str, fault: str | None) -> None:
        zip_path = path.removesuffix(".CHECKSUM")
        prefix = zip_path.rsplit("/", 1)[0] + "/"
        if zip_path not in self.services.archive_paths(prefix):
            self.send(404, b"<Error><Code>NoSuchKey</Code></Error>", kind="application/xml")
            return
        packed, stamps = self.services.zipped(zip_path)
        name = zip_path.rsplit("/", 1)[-1]
        if path.endswith(".CHECKSUM"):
            line = f"{hashlib.sha256(packed).hexdigest()}  {name}\n".encode()
            self.body(line, fault)
            return
        if fault == "corrupt" or name in self.services.corrupt_for_good:
            packed = packed[:-30] + b"\x00" + packed[-29:]
            self.send(200, packed)
        elif self.body(packed, fault):
            self.services.note(zip_path.split("/")[4], name, stamps)

    def api(self, path: str, query: dict[str, str], fault: str | None) -> None:
        try:
            answer, records = self.services.api(path, query)
        except BadRequestError as error:
            self.refuse(path, str(error))
            return
        if records is not None and fault in ("empty", "short", "overlap"):
            self.lie(path, query, records, fault)
            return
        if self.body(json.dumps(answer).encode(), fault) and records is not None:
            self.services.note(path.rsplit("/", 1)[-1], "", [_stamp(r) for r in records])

    def refuse(self, path: str, why: str) -> None:
        if path.startswith(("/fapi", "/futures")):
            self.send(400, json.dumps({"code": -1121, "msg": "Invalid symbol."}).encode())
        elif path.startswith("/v5"):
            self.send(200, json.dumps({"retCode": 10001, "retMsg": why, "result": {}}).encode())
        else:
            self.send(200, json.dumps({"code": "51001", "msg": why, "data": []}).encode())

    def lie(self, path: str, query: dict[str, str], records: list[Any], fault: str) -> None:
        """Answer with a page that is well-formed and not what was asked for."""
        name, wrap, page = _PAGED[path]
        if fault == "empty":
            shown: list[Any] = []
        elif fault == "short":
            shown = records[: len(records) // 2]
        else:
            wider = dict(query)
            for key in ("startTime", "start", "before", "begin"):
                if key in wider:
                    wider[key] = str(int(wider[key]) - 3 * HOUR)
            try:
                shown = [*page(self.services, wider), *records[-2:]]
            except BadRequestError:
                shown = [*records, *records[-2:]]
        self.send(200, json.dumps(wrap(name, shown)).encode())

    def body(self, content: bytes, fault: str | None) -> bool:
        """Send it, whole unless told otherwise; return whether it was."""
        if fault == "truncated":
            self.send(200, content, shown=len(content) // 2)
            self.close_connection = True
            return False
        if fault == "cut" or fault == "corrupt":
            self.send(200, content[: len(content) // 2])
            return False
        self.send(200, content)
        return True

    def send(
        self,
        status: int,
        content: bytes,
        headers: dict[str, str] | None = None,
        *,
        kind: str = "application/json",
        shown: int | None = None,
    ) -> None:
        try:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content if shown is None else content[:shown])
            self.wfile.flush()
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True  # the client was killed


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of a client that was killed; anything else is a fault of the server."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


@contextmanager
def running(services: Services) -> Iterator[str]:
    """Serve on a free port of the loopback interface; yield the address."""
    handler = type("Handler", (_Handler,), {"services": services})
    server = _Server(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def ccxt_settings(address: str, exchange: str) -> dict[str, Any]:
    """Return what points a ccxt exchange at the loopback server."""
    if exchange == "binance":
        api = {
            **dict.fromkeys(("fapiPublic", "fapiPrivate"), f"{address}/fapi/v1"),
            "fapiPublicV2": f"{address}/fapi/v2",
            "fapiPublicV3": f"{address}/fapi/v3",
            "fapiData": f"{address}/futures/data",
        }
        return {"urls": {"api": api}}
    if exchange == "bybit":
        return {
            "urls": {"api": dict.fromkeys(("spot", "futures", "v2", "public", "private"), address)}
        }
    return {"urls": {"api": {"rest": address}}}

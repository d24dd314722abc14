"""The exchanges' APIs through ccxt, one page at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from perpwalk.data.store.series import IN_CONTRACTS, SECOND, Rows, SeriesKey, SeriesKind
from perpwalk.errors import EnvironmentFailedError, UsageError
from perpwalk.fetch.net import Clock, Endpoints, NoAnswerError, pause_asked, persist

# What the exchanges are called here, and by ccxt; any other name is ccxt's own.
CCXT_NAMES = {"binance": "binanceusdm"}
# Records per page. Asking for more than an exchange gives costs requests, not records.
_PAGES: dict[str, dict[SeriesKind, int]] = {
    "binanceusdm": {"ohlcv": 1000, "mark": 1000, "funding": 1000, "open_interest": 500},
    "bybit": {"ohlcv": 1000, "mark": 1000, "funding": 200, "open_interest": 200},
    "okx": {"ohlcv": 300, "mark": 100, "funding": 100, "open_interest": 100},
}
_USUAL_PAGE = 100
_DEPTH_MS = {"open_interest": 30 * 86_400_000}  # Binance keeps a month of it
# Of these ccxt is known to hand out volumes in coins, whatever the size of a contract.
_IN_COINS = frozenset({"binanceusdm", "bybit", "okx", "htx"})
_MARKET_TYPES = {"binanceusdm": ["linear"], "bybit": ["linear"], "okx": ["swap"]}

T = TypeVar("T")


class Rest:
    """One exchange's public API."""

    def __init__(
        self, exchange: str, endpoints: Endpoints, clock: Clock, say: Callable[[str], None]
    ) -> None:
        self.name = exchange
        self._clock, self._say = clock, say
        self._id = CCXT_NAMES.get(exchange, exchange)
        self._api = _careful(self._id, clock, endpoints)
        self._loaded = False

    # ── the contract ─────────────────────────────────────────────────────────────────────────────

    def contract(self, symbol: str) -> dict[str, Any]:
        """Return ccxt's record of a perpetual named ``ETHUSDT``, ``ETH/USDT:USDT`` or by its id.

        Raises
        ------
        UsageError
            The exchange lists no such contract.
        """
        if not self._loaded:
            self._call(self._api.load_markets)
            self._loaded = True
        swaps = [one for one in self._api.markets.values() if one.get("swap")]
        plain = _plain(symbol)
        for market in swaps:
            names = {market["symbol"], market["id"], f"{market['base']}{market['quote']}"}
            if symbol in names or (market.get("linear") and plain in map(_plain, names)):
                return dict(market)
        raise UsageError(self._unknown(symbol, [f"{m['base']}{m['quote']}" for m in swaps]))

    def _unknown(self, symbol: str, known: list[str]) -> str:
        import difflib

        near = difflib.get_close_matches(_plain(symbol), known, n=3, cutoff=0.7)
        hint = f"did you mean {' or '.join(near)}?" if near else "is it delisted or renamed?"
        return f"{self.name} lists no perpetual {symbol} (of {len(known):,}); {hint}"

    def listed_at(self, symbol: str) -> int | None:
        """Return when the contract was listed, where the exchange says so."""
        created = self.contract(symbol).get("created")
        return int(created) if created else None

    def doubts(self, key: SeriesKey) -> list[str]:
        """Say where volumes may count contracts: ccxt hands out the number the exchange wrote.

        Nothing in its record of a market tells which of the two that is, so nothing is multiplied.
        """
        if key.kind != "ohlcv" or self._id in _IN_COINS:
            return []
        market = self.contract(key.symbol)
        size = float(market.get("contractSize") or 1)
        if size == 1:
            return []
        return [
            f"{IN_CONTRACTS}: a contract of {market['symbol']} at {self.name} is {size:g} "
            f"{market['base']}; hold a bar against a chart, and where they part by that factor "
            "multiply the volumes by it"
        ]

    def server_time(self) -> int | None:
        """Return the exchange's clock, where it shows one."""
        if not self._api.has.get("fetchTime"):
            return None
        return int(self._call(self._api.fetch_time))

    # ── pages ────────────────────────────────────────────────────────────────────────────────────

    def page(self, key: SeriesKey) -> int:
        """Return how many milliseconds one page of the series spans."""
        return _PAGES.get(self._id, {}).get(key.kind, _USUAL_PAGE) * key.step

    def oldest(self, key: SeriesKey, now: int) -> int:
        """Return from when on the API has the series at all, where that is known."""
        if self._id == "binanceusdm" and key.kind in _DEPTH_MS:
            return -(-(now - _DEPTH_MS[key.kind]) // key.step) * key.step
        return 0

    def offers(self, key: SeriesKey) -> bool:
        """Return whether ccxt can ask this exchange for such a series."""
        method = {
            "ohlcv": "fetchOHLCV",
            "mark": "fetchMarkOHLCV",
            "funding": "fetchFundingRateHistory",
            "open_interest": "fetchOpenInterestHistory",
        }[key.kind]
        return bool(self._api.has.get(method))

    def ask(self, key: SeriesKey, start: int, end: int) -> Rows:
        """Return what one page holds of ``[start, end)``, and whatever else came with it."""
        symbol = self.contract(key.symbol)["symbol"]
        limit = _PAGES.get(self._id, {}).get(key.kind, _USUAL_PAGE)
        limit = min(limit, -(-(end - start) // key.step)) if key.on_grid else limit
        records = self._call(lambda: self._asked(key, symbol, start, end, limit))
        return _rows(key, records)

    def _asked(
        self, key: SeriesKey, symbol: str, start: int, end: int, limit: int
    ) -> list[dict[str, Any] | list[Any]]:
        until = {"until": end - 1}
        if key.kind == "ohlcv":
            return list(self._api.fetch_ohlcv(symbol, key.interval, start, limit, until))
        if key.kind == "mark":
            price = {**until, "price": "mark"}
            return list(self._api.fetch_ohlcv(symbol, key.interval, start, limit, price))
        if key.kind == "open_interest":
            asked = self._api.fetch_open_interest_history
            return list(asked(symbol, key.interval, start, limit, until))
        # OKX knows cursors only: `after` is its word for `until`, and ccxt does not translate it.
        params: dict[str, Any] = {"after": str(end)} if self._id == "okx" else until
        return list(self._api.fetch_funding_rate_history(symbol, start, limit, params))

    def _call(self, call: Callable[[], T]) -> T:
        return persist(lambda: self._translated(call), self._clock, self._say)

    def _translated(self, call: Callable[[], T]) -> T:
        """Call ccxt; its errors that may pass become ``NoAnswerError``."""
        import ccxt

        try:
            return call()
        except (ccxt.BadSymbol, ccxt.NotSupported) as error:
            raise UsageError(f"{self.name}: {_short(error)}") from error
        except ccxt.NetworkError as error:
            text = _short(error)
            if any(word in text.lower() for word in ("restricted location", " 451 ", "country")):
                raise EnvironmentFailedError(
                    f"{self.name} refuses your network: {text}; set a proxy ccxt may use, or fetch "
                    "elsewhere"
                ) from error
            busy = isinstance(error, (ccxt.DDoSProtection, ccxt.RateLimitExceeded))
            headers = self._api.last_response_headers or {}
            wait = pause_asked(429, headers, self._clock.now_ms()) if busy else None
            raise NoAnswerError(f"{self.name}: {text}", wait=wait) from error
        except ccxt.BaseError as error:
            raise EnvironmentFailedError(
                f"{self.name} answers with an error: {type(error).__name__} {_short(error)}"
            ) from error
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            # ccxt trusts the shape of an answer; one that parses and is something else ends here.
            raise NoAnswerError(f"{self.name}: an answer of another shape ({error!r})") from error


def _careful(name: str, clock: Clock, endpoints: Endpoints) -> Any:
    """Return a ccxt exchange that refuses what is no JSON and keeps time by ``clock``."""
    import ccxt

    if name not in ccxt.exchanges:
        import difflib

        near = difflib.get_close_matches(name, [*ccxt.exchanges, *CCXT_NAMES], n=3)
        hint = f"; did you mean {' or '.join(near)}?" if near else ""
        raise UsageError(f"ccxt knows no exchange '{name}'{hint}")
    base: Any = getattr(ccxt, name)

    class Careful(base):  # type: ignore[misc]
        """ccxt takes an answer cut short for text and goes on; here it is no answer."""

        def fetch(self, *args: Any, **kwargs: Any) -> Any:
            answer = super().fetch(*args, **kwargs)
            if isinstance(answer, str | bytes):
                raise ccxt.NetworkError("the answer is no whole JSON")
            return answer

        def parse_json(self, http_response: str) -> Any:
            answer = super().parse_json(http_response)
            if answer is None and self.is_json_encoded_object(http_response):
                raise ccxt.NetworkError("the answer was cut short")
            return answer

        def handle_errors(self, code: int, reason: str, *rest: Any) -> Any:
            # By the status first: what some exchanges write beside it ccxt takes for another error.
            if code in (418, 429):
                raise ccxt.RateLimitExceeded(f"status {code} {reason}")
            if code >= 500:
                raise ccxt.ExchangeNotAvailable(f"status {code} {reason}")
            return super().handle_errors(code, reason, *rest)

        def milliseconds(self) -> int:
            return clock.now_ms()

        def throttle(self, cost: float | None = None) -> None:
            since = clock.now_ms() - self.lastRestRequestTimestamp
            wait = self.rateLimit * (1 if cost is None else cost) - since
            if wait > 0:
                clock.sleep(wait / SECOND)

    settings = {"enableRateLimit": True, "requests_trust_env": True, "timeout": 30_000}
    types = _MARKET_TYPES.get(name)
    options = {"fetchMarkets": {"types": types}} if types else {}
    api = Careful({**settings, "options": options, **endpoints.ccxt})
    api.enableLastResponseHeaders = True
    return api


def _plain(symbol: str) -> str:
    """Return base and quote alone: ``ETH/USDT:USDT`` and ``ETH-USDT-SWAP`` are ``ETHUSDT``.

    >>> _plain("ETH/USDT:USDT"), _plain("ETH-USDT-SWAP"), _plain("ethusdt")
    ('ETHUSDT', 'ETHUSDT', 'ETHUSDT')
    """
    pair = symbol.partition(":")[0].upper().removesuffix("-SWAP")
    return "".join(letter for letter in pair if letter.isalnum())


def _rows(key: SeriesKey, records: list[Any]) -> Rows:
    if not records:
        return Rows.empty(key)
    if key.kind in ("ohlcv", "mark"):
        table = [[_number(value) for value in record[: len(key.columns)]] for record in records]
    elif key.kind == "funding":
        table = [
            [
                one["timestamp"],
                _number(one["fundingRate"]),
                # Exchanges write 0 or nothing where they do not know the price.
                _number((one.get("info") or {}).get("markPrice")) or np.nan,
            ]
            for one in records
        ]
    else:
        table = [
            [
                one["timestamp"],
                _number(one["openInterestAmount"]),
                _number(one["openInterestValue"]),
            ]
            for one in records
        ]
    array = np.array(table, dtype=np.float64)
    order = np.argsort(array[:, 0], kind="stable")
    return Rows(array[order, 0].astype(np.int64), np.ascontiguousarray(array[order, 1:].T))


def _number(value: Any) -> float:
    return np.nan if value in (None, "") else float(value)


def _short(error: Exception) -> str:
    cause = error.__cause__
    text = str(error) if cause is None or isinstance(cause, KeyError) else f"{cause}"
    return " ".join(text.split())[:200]

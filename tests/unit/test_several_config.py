"""Several contracts in a configuration: `markets` over `market`, and what names the question."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from perpwalk import config, data
from perpwalk.config import Config, resolve
from perpwalk.errors import ConfigError

TWO: dict[str, Any] = {
    "market": {"interval": "4h", "simulate": {"bars": 900, "edge": 0.3}},
    "markets": [{"symbol": "AAA"}, {"symbol": "BBB", "simulate": {"edge": 0.0}}],
}


def test_each_contract_is_written_over_what_they_share() -> None:
    """An entry says what is its own; the rest, nested sections too, is `market`'s."""
    one, other = resolve(TWO).markets

    assert ("AAA", "4h", 900, 0.3) == (
        one.symbol, one.interval, one.simulate.bars, one.simulate.edge,
    )  # fmt: skip
    assert ("BBB", "4h", 900, 0.0) == (
        other.symbol, other.interval, other.simulate.bars, other.simulate.edge,
    )  # fmt: skip


def test_a_kept_configuration_reads_back_and_still_shares(tmp_path: Path) -> None:
    """config.yaml holds of each contract what it does not share, so --set market.… reaches all."""
    kept = tmp_path / "config.yaml"
    kept.write_text(resolve(TWO).to_yaml())

    assert resolve(TWO) == config.load(kept)
    longer = config.load(kept, ["market.simulate.bars=1200"])
    assert [1200, 1200] == [section.simulate.bars for section in longer.markets]


def test_a_single_entry_is_the_market_itself() -> None:
    """One contract under `markets` asks what it asks under `market`: the same digest and layout."""
    listed = resolve({"market": {"interval": "4h"}, "markets": [{"symbol": "AAA"}]})
    alone = resolve({"market": {"interval": "4h", "symbol": "AAA"}})

    assert alone == listed
    assert ("AAA",) == listed.symbols
    assert (listed,) == listed.each_market()


def test_the_question_is_of_the_contracts_and_their_data() -> None:
    """What `market` says beside its entries asks nothing; a file's content, an order, a lot do."""
    said = {**TWO, "market": {**TWO["market"], "symbol": "UNUSED"}}
    hashes = {"AAA/ohlcv": "1", "BBB/ohlcv": "2"}
    turned = {**TWO, "markets": TWO["markets"][::-1]}
    lot = {**TWO, "broker": {"contracts": {"AAA": {"lot_size": 1.0}}}}

    asked = resolve(TWO).digest(hashes)
    assert asked == resolve(said).digest(hashes)
    assert asked != resolve(TWO).digest({**hashes, "BBB/ohlcv": "3"})
    assert asked != resolve(turned).digest(hashes)
    assert asked != resolve(lot).digest(hashes)


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        ([{"symbol": "AAA"}, {"symbol": "aaa"}], "AAA stands 2 times"),
        ([{"symbol": "AAA"}, {}], "'markets.1': each contract needs a symbol"),
        ([{"symbol": "AAA"}, {"symbol": "BBB", "intervall": "1h"}], "did you mean 'interval'?"),
        ([{"symbol": "AAA"}, {"symbol": "BBB", "interval": "1h"}], "BBB has bars of 1h"),
        ([{"symbol": "AAA"}, {"symbol": "BBB", "ohlcv": "b.csv"}], "AAA names no ohlcv file"),
        ([{"symbol": "AAA"}, 3], "'markets.1'"),
        ([{"symbol": "../up"}, {"symbol": "BBB"}], "'markets.0.symbol'"),
        ("AAA", "'markets'"),
    ],
)
def test_a_wrong_list_is_said_in_one_sentence(entries: Any, said: str) -> None:
    """Twice the same, nameless, misspelt, of another interval, half simulated, no section."""
    with pytest.raises(ConfigError, match=said.replace("?", r"\?")):
        resolve({"market": {"interval": "4h"}, "markets": entries})


def test_a_contracts_own_rules_are_of_a_contract_that_is_traded() -> None:
    """A symbol under `broker.contracts` that nobody trades is a slip of the pen."""
    with pytest.raises(ConfigError, match=r"broker.contracts: BBC is not traded .*AAA, BBB"):
        resolve({**TWO, "broker": {"contracts": {"BBC": {"lot_size": 1.0}}}})


def test_each_contract_brings_its_own_rules() -> None:
    """What is not said of it is the account's."""
    raw = {**TWO, "broker": {"min_notional": 7.0, "contracts": {"BBB": {"lot_size": 1.0}}}}
    one, other = (alone.broker for alone in resolve(raw).each_market())

    assert (0.001, 7.0) == (one.lot_size, one.min_notional)
    assert (1.0, 7.0) == (other.lot_size, other.min_notional)


def test_the_rules_of_one_contract_alone_are_the_accounts() -> None:
    """`broker.contracts` of the only contract asks what `broker` itself would."""
    own = {"market": {"symbol": "AAA"}, "broker": {"contracts": {"AAA": {"lot_size": 1.0}}}}
    plain = {"market": {"symbol": "AAA"}, "broker": {"lot_size": 1.0}}

    assert resolve(plain) == resolve(own)


def drawn(asked: Config) -> list[float]:
    return [float(market.bars.close[-1]) for market in data.load_markets(asked)]


def test_simulated_contracts_are_drawn_apart_and_alone_the_same() -> None:
    """No two symbols share their draws; a contract is the same in any company and any place."""
    same = {**TWO, "markets": [{"symbol": "AAA"}, {"symbol": "BBB"}]}
    pair = drawn(resolve(same))
    turned = drawn(resolve({**same, "markets": same["markets"][::-1]}))
    alone = [drawn(one)[0] for one in resolve(same).each_market()]

    assert pair[0] != pair[1]
    assert pair == turned[::-1] == alone
    assert pair != drawn(resolve({**same, "seed": 8}))


def test_paths_of_contracts_are_found_beside_the_file_that_names_them(tmp_path: Path) -> None:
    """Like those of `market`."""
    (tmp_path / "a.csv").write_text("")
    raw = {"markets": [{"symbol": s, "ohlcv": "a.csv"} for s in ("AAA", "BBB")]}
    (tmp_path / "some.yaml").write_text(yaml.safe_dump(raw))

    asked = config.load(tmp_path / "some.yaml")
    assert [str(tmp_path / "a.csv")] * 2 == [section.ohlcv for section in asked.markets]

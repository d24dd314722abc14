"""The same walk-forward the obvious way: what a careful first script does.

Windows materialised, a DataLoader with batches of 64, autograd's LSTM, a cold fit per fold, one
``predict`` per bar inside ``next``, stock ``PandasData`` and broker. Bars, features, labels and
folds are perpwalk's, so that both answer the same question on the same decisions; what it leaves
out (funding, margin, liquidation, intervals, audits, reports) is in its favour, and so is how
threads wait (``perpwalk.models`` is imported first), without which a shared machine stalls it.

    python benchmarks/obvious_way.py configs/demo.yaml --set model.lstm.epochs=2
"""

from __future__ import annotations

import perpwalk.models  # noqa: F401 - before torch: see above

# isort: split
import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
import xgboost
from sklearn.feature_selection import mutual_info_classif
from sklearn.metrics import roc_auc_score
from sklearn.preprocessing import StandardScaler
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from engine import stages
from engine.bridge import bt
from perpwalk import config as configuration
from perpwalk import data
from perpwalk.config import Config
from perpwalk.domain import UNDEFINED_LABEL, Fold

BATCH = 64


@dataclass(frozen=True)
class Outcome:
    """What it found, and the wall seconds it took."""

    auc: float
    decisions: int
    equity: float
    seconds: float


class Net(nn.Module):
    """LSTM, dense head, embedding, logit."""

    def __init__(self, features: int, config: Config) -> None:
        super().__init__()
        sizes = config.model.lstm
        self.lstm = nn.LSTM(
            features, sizes.hidden, sizes.layers, batch_first=True, dropout=sizes.dropout
        )
        self.dense = nn.Linear(sizes.hidden, sizes.dense)
        self.to_embedding = nn.Linear(sizes.dense, sizes.embedding)
        self.to_logit = nn.Linear(sizes.embedding, 1)

    def embed(self, windows: torch.Tensor) -> torch.Tensor:
        """Map windows (b, t, k) to embeddings (b, e)."""
        states, _ = self.lstm(windows)
        return torch.tanh(self.to_embedding(torch.relu(self.dense(states[:, -1]))))

    def forward(self, windows: torch.Tensor) -> torch.Tensor:
        """Map windows (b, t, k) to logits (b,)."""
        return self.to_logit(self.embed(windows)).squeeze(-1)


@dataclass(frozen=True)
class Fitted:
    """One fold's model."""

    columns: np.ndarray
    scaler: StandardScaler
    net: Net
    trees: xgboost.XGBClassifier

    def predict(self, window: np.ndarray) -> float:
        """Return the probability of up for one window (t, K) of raw features."""
        scaled = self.scaler.transform(window[:, self.columns]).astype(np.float32)
        with torch.no_grad():
            embedding = self.net.embed(torch.from_numpy(scaled[None]))
        return float(self.trees.predict_proba(embedding.numpy())[0, 1])


def windows_of(values: np.ndarray, rows: np.ndarray, timesteps: int) -> torch.Tensor:
    """Copy every decision's window out: (m, t, k)."""
    return torch.from_numpy(np.stack([values[row - timesteps + 1 : row + 1] for row in rows]))


def fit(config: Config, prepared: stages.Prepared, fold: Fold) -> Fitted:
    """Scale, select and train on the fold's own rows."""
    torch.manual_seed(config.seed)
    settings, labels = config.model.lstm, prepared.labels.label
    train, validation = (
        rows[labels[rows] != UNDEFINED_LABEL] for rows in (fold.train.rows, fold.validation.rows)
    )
    raw = prepared.features.values
    relevance = mutual_info_classif(raw[train[::4]], labels[train[::4]], random_state=config.seed)
    columns = np.argsort(relevance)[::-1][: config.features.selection.k]
    scaler = StandardScaler().fit(raw[train][:, columns])
    values = np.zeros((len(raw), len(columns)), dtype=np.float32)
    known = np.isfinite(raw).all(axis=1)
    values[known] = np.clip(scaler.transform(raw[known][:, columns]), -8, 8)

    def loader(rows: np.ndarray, *, shuffle: bool) -> DataLoader:
        target = torch.from_numpy(labels[rows].astype(np.float32))
        made = TensorDataset(windows_of(values, rows, settings.timesteps), target)
        return DataLoader(made, batch_size=BATCH, shuffle=shuffle)

    net = Net(len(columns), config)
    trained(net, loader(train, shuffle=True), loader(validation, shuffle=False), config)
    with torch.no_grad():
        embedded = [
            torch.cat([net.embed(windows) for windows, _ in loader(rows, shuffle=False)]).numpy()
            for rows in (train, validation)
        ]
    xgb = config.model.xgb
    trees = xgboost.XGBClassifier(
        n_estimators=xgb.rounds, max_depth=xgb.max_depth, learning_rate=xgb.learning_rate,
        subsample=xgb.subsample, colsample_bytree=xgb.colsample, reg_lambda=xgb.reg_lambda,
        min_child_weight=0.25 * xgb.min_leaf_share * len(train),
        early_stopping_rounds=xgb.early_stopping, random_state=config.seed,
    )  # fmt: skip
    trees.fit(
        embedded[0], labels[train], eval_set=[(embedded[1], labels[validation])], verbose=False
    )
    return Fitted(columns, scaler, net, trees)


def trained(net: Net, train: DataLoader, validation: DataLoader, config: Config) -> None:
    """Train until validation loss has not improved for ``patience`` epochs; keep the best."""
    settings = config.model.lstm
    optimizer = torch.optim.AdamW(
        net.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay
    )
    criterion = nn.BCEWithLogitsLoss()
    best, waited, kept = np.inf, 0, net.state_dict()
    for _ in range(settings.epochs):
        net.train()
        for windows, target in train:
            optimizer.zero_grad()
            criterion(net(windows), target).backward()
            nn.utils.clip_grad_norm_(net.parameters(), settings.gradient_clip)
            optimizer.step()
        net.eval()
        with torch.no_grad():
            loss = np.mean(
                [criterion(net(windows), target).item() for windows, target in validation]
            )
        if loss < best:
            best, waited = loss, 0
            kept = {name: weight.clone() for name, weight in net.state_dict().items()}
        else:
            waited += 1
            if waited >= settings.patience:
                break
    net.load_state_dict(kept)
    net.eval()


class PredictEachBar(bt.Strategy):
    """Asks the fold's model at every bar and turns its position accordingly."""

    params = (("model_of", {}), ("features", None), ("timesteps", 20), ("forecasts", None))

    def next(self) -> None:
        """Predict, and turn where the side changes."""
        stamp = pd.Timestamp(bt.num2date(self.data.datetime[0])).round("s")
        if stamp not in self.p.model_of:
            return
        row, model = self.p.model_of[stamp]
        p_up = model.predict(self.p.features[row - self.p.timesteps + 1 : row + 1])
        self.p.forecasts[row] = p_up
        side = 1 if p_up > 0.5 else -1
        if self.position.size * side <= 0:
            self.order_target_percent(target=0.95 * side)


def frame_of(prepared: stages.Prepared) -> pd.DataFrame:
    """Return the bars as the frame PandasData wants."""
    bars = prepared.market.bars
    names = ("open", "high", "low", "close", "volume")
    return pd.DataFrame(
        {name: getattr(bars, name) for name in names}, index=bars.open_time.tz_localize(None)
    )


def run(config: Config) -> Outcome:
    """Do the whole job and say what came of it."""
    began = time.perf_counter()
    market = data.load_market(config.market, seed=config.seed)
    (prepared,) = stages.prepare(config, [market])
    frame = frame_of(prepared)
    model_of = {}
    for fold in prepared.folds:
        fitted = fit(config, prepared, fold)
        model_of |= {frame.index[row]: (int(row), fitted) for row in fold.test.rows}
    forecasts: dict[int, float] = {}
    cerebro = bt.Cerebro()
    cerebro.adddata(bt.feeds.PandasData(dataname=frame.loc[min(model_of) : max(model_of)]))
    cerebro.addstrategy(
        PredictEachBar, model_of=model_of, features=prepared.features.values,
        timesteps=config.model.lstm.timesteps, forecasts=forecasts,
    )  # fmt: skip
    cerebro.broker.setcash(config.broker.cash)
    cerebro.broker.setcommission(config.broker.taker_fee)
    cerebro.run()
    labels = prepared.labels.label
    rows = [row for row in forecasts if labels[row] != UNDEFINED_LABEL]
    auc = roc_auc_score([labels[row] for row in rows], [forecasts[row] for row in rows])
    seconds = time.perf_counter() - began
    return Outcome(float(auc), len(rows), cerebro.broker.getvalue(), seconds)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print what it found and how long it took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("config")
    parser.add_argument("--set", action="append", default=[], dest="overrides")
    asked = parser.parse_args(arguments)
    print(run(configuration.load(asked.config, asked.overrides)))


if __name__ == "__main__":
    main()

// The page of one run.
"use strict";
(() => {
  const pw = globalThis.perpwalk;

  function tradeMarks(grid) {
    const column = (name) => pw.column(grid, name);
    const marks = {
      opened: column("opened_at"), closed: column("closed_at"), entry: column("entry_price"),
      exit: column("exit_price"), side: column("side"), net: column("net_pnl"),
    };
    return Object.values(marks).includes(null) ? null : marks;
  }

  pw.startRun = (data) => {
    const options = { stamp: data.stamp };
    const trades = tradeMarks(data.grids.trades);
    let charts = null;
    if (data.overTime)
      charts = new pw.OverTime(pw.byId("overtime"), data.overTime, {
        ...options, trades, refits: [...new Set(pw.column(data.grids.folds, "test_start") ?? [])],
      });
    const go = charts && trades ? {
      label: "Show in the charts: trade",
      act: (row) => {
        charts.show(trades.opened[row], trades.closed[row]);
        charts.panels.find((one) => one.id === "price")?.box.scrollIntoView({ block: "center" });
        charts.body.focus({ preventScroll: true });
      },
    } : null;
    pw.grids(data.grids, { trades: { go } });
    if (data.forecasts) pw.forecastFigures(data.forecasts, options);
    if (pw.byId("training")) pw.trainingFigures(data.grids.training, options);
    if (data.features) pw.featureFigure(data.features, options);
    pw.charts = charts;
  };
})();

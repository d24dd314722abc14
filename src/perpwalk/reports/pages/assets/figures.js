// Single charts: each draws when it comes into view, again when the theme or its width changes.
"use strict";
(() => {
  const pw = globalThis.perpwalk;

  const TITLE = 34; // pixels above a saved picture

  // A word across every chart of a run that is no result; it stays on an exported picture.
  pw.stamped = (stamp) => (stamp ? [{
    text: stamp, x: 0.5, y: 0.5, xref: "paper", yref: "paper", showarrow: false, textangle: -12,
    font: { size: 26, color: pw.faded(pw.colour("bad"), 0.38) },
  }] : []);

  pw.axis = (title, more = {}) => ({
    title: { text: pw.label(title), font: { size: 12 }, standoff: 6 }, gridcolor: pw.colour("grid"),
    zerolinecolor: pw.colour("line"), linecolor: pw.colour("line"), automargin: true, ...more,
  });

  pw.Figure = class {
    // `draw` returns {data, layout}; it is called with the width whenever it must be drawn anew.
    constructor(host, title, draw, { stamp = "", height = 320, told = "" } = {}) {
      this.draw = draw;
      this.stamp = stamp;
      this.height = height;
      this.title = title;
      this.seen = false;
      this.heading = pw.make("b", {}, title);
      this.plot = pw.make("div", { class: "plot", role: "img", "aria-label": told || title });
      const save = pw.button("save picture", () => this.save(), {
        class: "tool quietly", "aria-label": `Save picture: ${title}`,
      });
      host.replaceChildren(pw.make("figcaption", {}, this.heading, save), this.plot);
      this.redraw = pw.perFrame(() => this.drawNow());
      new IntersectionObserver((entries) => {
        if (!this.seen && entries.some((entry) => entry.isIntersecting)) {
          this.seen = true;
          this.redraw();
        }
      }, { rootMargin: "300px" }).observe(host);
      let width = 0;
      new ResizeObserver(() => {
        if (host.clientWidth !== width) { width = host.clientWidth; this.redraw(); }
      }).observe(host);
      pw.onTheme(() => this.redraw());
    }

    drawNow() {
      const width = this.plot.clientWidth;
      if (!this.seen || width === 0) return;
      const { data, layout } = this.draw(width);
      const whole = {
        width, height: layout.height ?? this.height, margin: { l: 50, r: 12, t: 8, b: 40 },
        paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", dragmode: false,
        hovermode: "closest", showlegend: false,
        font: {
          family: getComputedStyle(document.body).fontFamily, size: 12, color: pw.colour("quiet"),
        },
        hoverlabel: {
          bgcolor: pw.colour("raised"), bordercolor: pw.colour("line"), align: "left",
          font: { color: pw.colour("ink"), size: 12, family: getComputedStyle(document.body).fontFamily },
        },
        legend: { orientation: "h", y: 1.02, yanchor: "bottom", x: 0 },
        ...layout,
        annotations: [...(layout.annotations ?? []), ...pw.stamped(this.stamp)],
      };
      Plotly.react(this.plot, data, whole, { displayModeBar: false, responsive: false });
      this.plot.dataset.drawn = String(Number(this.plot.dataset.drawn ?? 0) + 1);
    }

    async save() {
      const title = this.heading.textContent;
      const { layout } = this.plot;
      const picture = await Plotly.toImage({
        data: this.plot.data,
        layout: {
          ...layout, paper_bgcolor: pw.colour("back"), height: layout.height + TITLE,
          margin: { ...layout.margin, t: layout.margin.t + TITLE },
          title: { text: pw.label(title), x: 0.01, y: 0.99, yanchor: "top", pad: { t: 8 },
            font: { size: 15, color: pw.colour("ink") } },
        },
      }, { format: "png", scale: 2, width: layout.width, height: layout.height + TITLE });
      pw.make("a", { href: picture, download: `${title}.png` }).click();
    }
  };

  // ── forecasts: ROC, calibration, distribution ─────────────────────────────
  const named = (group) => (group.kind === "all" ? "all decisions" : `${group.kind} ${group.name}`);

  function told(group) {
    const { value, lo, hi } = group.auc;
    return `${named(group)}: AUC ${pw.form(value, "decimal")}${pw.bounds(lo, hi, "decimal")}, `
      + `${pw.form(group.n, "count")} decisions`;
  }

  pw.forecastFigures = (document_, options) => {
    const { groups, edges, level } = document_;
    let chosen = 0;
    const figures = [];
    const choose = (value) => {
      chosen = Number(value);
      note.textContent = told(groups[chosen]);
      figures.forEach((one) => one.redraw());
    };
    const note = pw.make("span", {}, told(groups[0]));
    pw.byId("groups").append(
      pw.select("Shown in colour", groups.map((group, i) => [i, named(group)]), choose), note,
    );
    const alone = groups.length === 1;

    const curves = (trace) => groups
      .map((group, i) => ({ group, i }))
      .sort((a, b) => (a.i === chosen) - (b.i === chosen)) // the chosen one on top
      .flatMap(({ group, i }) => trace(group, i === chosen || alone));

    figures.push(new pw.Figure(pw.byId("roc"), "ROC curves", () => ({
      data: [
        { x: [0, 1], y: [0, 1], mode: "lines", hoverinfo: "skip",
          line: { color: pw.colour("quiet"), width: 1, dash: "dash" } },
        ...curves((group, bright) => (group.roc ? [{
          x: group.roc.false, y: group.roc.true, mode: "lines", name: pw.label(named(group)),
          text: pw.label(told(group)), hoverinfo: "text",
          line: { color: bright ? pw.colour("strategy") : pw.faded(pw.colour("quiet"), 0.35),
            width: bright ? 2.5 : 1 },
        }] : [])),
      ],
      layout: {
        xaxis: pw.axis("false positive rate", { range: [0, 1], constrain: "domain" }),
        yaxis: pw.axis("true positive rate", { range: [0, 1] }),
        annotations: groups[chosen].roc ? [] : [{
          text: "one class only: no curve", x: 0.5, y: 0.25, showarrow: false,
        }],
      },
    }), { ...options, told: `ROC curves. ${told(groups[0])}` }));

    figures.push(new pw.Figure(pw.byId("calibration"), "Calibration", () => {
      const bins = curves((group, bright) => {
        const { said, came, lo, hi, n } = group.calibration;
        return [{
          x: said, y: came, mode: bright ? "lines+markers" : "lines",
          text: Array.from(said, (p, k) => pw.label(
            `${named(group)}: called ${pw.form(p, "decimal")}, came `
            + `${pw.form(came[k], "decimal")}${pw.bounds(lo[k], hi[k], "decimal")}, `
            + `${pw.form(n[k], "count")} decisions`)),
          hoverinfo: "text",
          line: { color: bright ? pw.colour("strategy") : pw.faded(pw.colour("quiet"), 0.3),
            width: bright ? 1.5 : 1 },
          marker: { size: 7 },
          ...(bright ? { error_y: {
            type: "data", symmetric: false, color: pw.faded(pw.colour("strategy"), 0.5), width: 0,
            array: Array.from(hi, (v, k) => v - came[k]),
            arrayminus: Array.from(lo, (v, k) => came[k] - v),
          } } : {}),
        }];
      });
      const all = groups.flatMap((group) => Array.from(group.calibration.said));
      const ends = [Math.min(...all) - 0.01, Math.max(...all) + 0.01];
      return {
        data: [{ x: ends, y: ends, mode: "lines", hoverinfo: "skip",
          line: { color: pw.colour("quiet"), width: 1, dash: "dash" } }, ...bins],
        layout: {
          xaxis: pw.axis("forecast probability of a rise"),
          yaxis: pw.axis(`share that rose, ${+(100 * level).toPrecision(6)} % interval`),
        },
      };
    }, options));

    figures.push(new pw.Figure(pw.byId("distribution"), "Distribution of the forecasts", () => {
      const group = groups[chosen];
      const middle = Array.from({ length: edges.length - 1 }, (_, k) => (edges[k] + edges[k + 1]) / 2);
      const bars = (counts, name, colour, pattern) => ({
        x: middle, y: counts, type: "bar", name,
        hovertemplate: `%{y:,} ${name} at %{x:.3f}<extra></extra>`,
        marker: { color: pw.faded(pw.colour(colour), 0.6),
          pattern: { shape: pattern, size: 5, solidity: 0.25 } },
      });
      return {
        data: [bars(group.up, "went up", "up", ""), bars(group.down, "went down", "down", "/")],
        layout: {
          barmode: "overlay", bargap: 0.05, showlegend: true, height: 260,
          margin: { l: 50, r: 12, t: 30, b: 40 },
          xaxis: pw.axis("forecast probability of a rise"), yaxis: pw.axis("decisions"),
        },
      };
    }, { ...options, height: 260 }));
  };

  // ── training ──────────────────────────────────────────────────────────────
  const MOST_NAMED = 8;

  // Per stage of the model (network, trees, …) its losses, and its validation AUC where it has one.
  pw.trainingFigures = (grid, options) => {
    const columns = Object.fromEntries(grid.columns.map((one) => [one.name, pw.values(one)]));
    const rows = Array.from({ length: grid.rows }, (_, i) => Object.fromEntries(
      Object.entries(columns).map(([name, values]) => [name, values[i]])));
    for (const row of rows) row.line = row.symbol ? `${row.symbol} ${row.fold}` : String(row.fold);
    const stages = [...new Set(rows.map((row) => row.stage ?? ""))];
    for (const stage of stages) {
      const mine = rows.filter((row) => (row.stage ?? "") === stage);
      const of = stage ? `, ${stage}` : "";
      const draw = (title, parts, axis) => {
        if (!mine.some((row) => parts.some(([name]) => Number.isFinite(row[name])))) return;
        const host = pw.make("figure", { class: "chart" });
        pw.byId("training").append(host);
        new pw.Figure(host, title, () => epochs(mine, parts, axis), { ...options, height: 300 });
      };
      draw(`Loss per epoch${of}: validation solid, train dotted`,
        [["validation_loss", "solid"], ["train_loss", "dot"]], "loss");
      draw(`Validation AUC per epoch${of}`, [["validation_auc", "solid"]], "AUC");
    }
  };

  function epochs(rows, parts, axis) {
    const lines = [...new Set(rows.map((row) => row.line))];
    const most = Math.max(...rows.map((row) => row.epoch));
    const data = parts.flatMap(([name, dash], part) => lines.map((line, number) => {
      const mine = rows.filter((row) => row.line === line && Number.isFinite(row[name]));
      return {
        x: mine.map((row) => row.epoch), y: mine.map((row) => row[name]), type: "scatter",
        mode: most > 40 ? "lines" : "lines+markers", hoverinfo: "text",
        text: mine.map((row) => pw.label(`fold ${line}, epoch ${row.epoch}: `
          + `${name.replaceAll("_", " ")} ${pw.form(row[name])}`)),
        name: pw.label(`fold ${line}`), showlegend: part === 0,
        line: { width: 1.5, dash, color: pw.colour(`v${number % 8}`) }, marker: { size: 4 },
      };
    }));
    const named = lines.length > 1 && lines.length <= MOST_NAMED;
    return {
      data,
      layout: {
        showlegend: named, margin: { l: 50, r: 12, t: named ? 34 : 8, b: 40 },
        xaxis: pw.axis("epoch", most <= 12 ? { dtick: 1 } : {}), yaxis: pw.axis(axis),
      },
    };
  }

  // ── features ──────────────────────────────────────────────────────────────
  pw.featureFigure = (found, options) => {
    const { folds, names, kept, candidates } = found;
    const height = 70 + 17 * names.length;
    const of = candidates ? ` of ${candidates}` : "";
    const title = `${names.length}${of} features, by how many of ${folds.length} folds kept them`;
    new pw.Figure(pw.byId("features"), title, (width) => {
      const longest = Math.max(...names.map((name) => name.length));
      const most = width < 500 ? 18 : 30;
      const cut = (name) => (name.length > most ? `${name.slice(0, most - 1)}…` : name);
      const z = names.map((_, row) => folds.map((__, column) => Number(kept[row].includes(column))));
      return {
        data: [{
          type: "heatmap", z, x: folds, y: names.map((_, row) => row), xgap: 2, ygap: 2,
          showscale: false, zmin: 0, zmax: 1,
          colorscale: [[0, pw.colour("grid")], [1, pw.colour("strategy")]],
          text: names.map((name, row) => folds.map((fold, column) => pw.label(
            `${name}: ${z[row][column] ? "kept" : "not kept"} in fold ${fold}, `
            + `${kept[row].length} of ${folds.length} folds`))),
          hoverinfo: "text",
        }],
        layout: {
          height, margin: { l: Math.min(longest, most) * 6.6 + 44, r: 12, t: 8, b: 44 },
          xaxis: pw.axis("fold", { type: "category", showgrid: false }),
          yaxis: {
            tickvals: names.map((_, row) => row), showgrid: false, zeroline: false,
            ticktext: names.map((name, row) => `${pw.label(cut(name))}  ${kept[row].length}`),
            autorange: "reversed", tickfont: { size: 11 },
          },
        },
      };
    }, { ...options, height });
  };
})();

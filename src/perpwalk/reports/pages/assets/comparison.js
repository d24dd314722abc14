// The page of a comparison: variants switched on and off, their differences, their ranks.
"use strict";
(() => {
  const pw = globalThis.perpwalk;
  const UNITS = {
    total_return: "percent", cagr: "percent", max_drawdown: "percent", volatility: "percent",
    fees: "money", funding: "money", slippage: "money", trades: "count", brier: "ratio",
    accuracy: "decimal", auc: "decimal", sharpe: "decimal", sortino: "decimal", calmar: "decimal",
  };
  const FIRST = 5;
  const SHORT = { "buy and hold": "hold", "flat account": "flat", "last move": "last",
    "commoner side": "side" };

  // A packed table as rows: [{column: value}, …].
  function records(packed) {
    const columns = packed.columns.map((one) => [one.name, pw.values(one)]);
    return Array.from({ length: packed.rows }, (_, i) =>
      Object.fromEntries(columns.map(([name, values]) => [name, values[i]])));
  }

  const cut = (name, most) => (name.length > most
    ? `${name.slice(0, Math.ceil(most / 2) - 1)}…${name.slice(-Math.floor(most / 2))}` : name);
  const widened = (values) => {
    const known = values.filter((v) => v === v && v !== null && v !== undefined);
    const [low, high] = [Math.min(...known), Math.max(...known)];
    const more = 0.04 * (high - low) || 0.5;
    return known.length ? [low - more, high + more] : [0, 1];
  };
  const room = (width, names) => {
    const most = Math.max(10, Math.min(34, Math.floor((0.38 * width) / 6.4)));
    return { most, left: Math.min(most, Math.max(...names.map((n) => n.length))) * 6.5 + 16 };
  };

  pw.startComparison = (data) => {
    const page = new Page(data);
    page.start();
    pw.charts = page.charts;
  };

  class Page {
    constructor(data) {
      this.data = data;
      this.figures = [];
      this.on = new Set(Object.keys(data.styles).filter((name) => data.styles[name].on));
    }

    label(metric) { return this.data.labels[metric] ?? metric.replaceAll("_", " "); }

    start() {
      const { data } = this;
      if (pw.byId("overtime")) this.overTime();
      pw.grids(data.grids);
      if (pw.byId("intervals")) this.intervals();
      if (pw.byId("matrix")) this.matrix();
      if (pw.byId("ranks")) this.ranks();
      this.switched();
    }

    // ── the switches ────────────────────────────────────────────────────────
    overTime() {
      const { overTime, styles, ranked } = this.data;
      this.list();
      this.charts = new pw.OverTime(pw.byId("overtime"), overTime, {
        keys: false,
        onCursor: (row) => this.tell(row),
      });
      if (overTime.stretch > 1) {
        const note = pw.byId("thinned");
        note.hidden = false;
        note.textContent = `Of every ${overTime.stretch} bars the page keeps each curve's lowest and `
          + "highest value; all bars are in curves.parquet beside it.";
      }
    }

    list() {
      const { styles } = this.data;
      const all = Object.keys(styles);
      this.boxes = new Map();
      const set = (names) => {
        this.on = new Set(names);
        for (const [name, { box }] of this.boxes) box.checked = this.on.has(name);
        this.switched();
      };
      const rows = all.map((name, at) => {
        const box = pw.make("input", {
          type: "checkbox",
          onchange: () => {
            if (box.checked) this.on.add(name); else this.on.delete(name);
            this.switched();
          },
        });
        box.checked = this.on.has(name);
        const value = pw.make("b", { class: "value" });
        const swatch = this.swatch(styles[name]);
        const rank = this.data.ranked.indexOf(name) + 1;
        const line = pw.make("label", { title: name }, box, swatch,
          pw.make("span", { class: "rank" }, rank ? String(rank) : ""),
          pw.make("span", { class: "name" }, name), value);
        this.boxes.set(name, { box, value, line });
        return line;
      });
      const find = pw.make("input", {
        type: "search", placeholder: "find a variant", "aria-label": "Find a variant",
        oninput: () => {
          const wanted = find.value.trim().toLowerCase();
          all.forEach((name, at) => {
            rows[at].hidden = wanted !== "" && !name.toLowerCase().includes(wanted);
          });
        },
      });
      pw.byId("variants").append(
        pw.make("div", { class: "controls", role: "group", "aria-label": "Switch variants" },
          pw.button("All", () => set(all)), pw.button("None", () => set([])),
          pw.button(`First ${FIRST}`, () => set(this.data.ranked.slice(0, FIRST)))),
        ...(all.length > 12 ? [find] : []),
        pw.make("div", { class: "list", role: "group", "aria-label": "Variants", tabindex: "0" },
          ...rows),
      );
    }

    swatch(style) {
      const space = "http://www.w3.org/2000/svg";
      const picture = document.createElementNS(space, "svg");
      const line = document.createElementNS(space, "line");
      const dash = { solid: "", dash: "5 3", dot: "2 2", dashdot: "5 2 2 2", longdash: "8 3",
        longdashdot: "8 2 2 2" }[style.dash];
      for (const [name, value] of Object.entries({ width: 26, height: 8, "aria-hidden": "true" }))
        picture.setAttribute(name, value);
      for (const [name, value] of Object.entries({
        x1: 0, x2: 26, y1: 4, y2: 4, "stroke-width": 3, "stroke-dasharray": dash,
        style: `stroke:var(--${style.colour})`,
      })) line.setAttribute(name, value);
      picture.append(line);
      return picture;
    }

    switched() {
      for (const panel of this.charts?.panels ?? [])
        for (const one of panel.series) one.on = this.on.has(one.label);
      this.charts?.draw();
      for (const row of document.querySelectorAll("tr[data-row]")) {
        const name = row.dataset.row;
        if (!(name in this.data.styles)) continue;
        row.classList.toggle("on", this.on.has(name));
        row.style.setProperty("--own", `var(--${this.data.styles[name].colour})`);
      }
      this.figures.forEach((figure) => figure.redraw());
    }

    tell(row) {
      const [growth] = this.charts.panels;
      for (const one of growth.series)
        this.boxes.get(one.label).value.textContent = pw.form(one.values[row], growth.unit);
    }

    colour(name) {
      const style = this.data.styles[name];
      return pw.colour(style ? style.colour : "quiet");
    }

    // Variants that are switched on, in order of rank; benchmarks after them.
    shown(names) {
      const { styles } = this.data;
      return names.filter((name) => !(name in styles) || this.on.has(name));
    }

    // ── one metric, all variants, with intervals ────────────────────────────
    intervals() {
      const rows = records(this.data.metrics).filter((row) => row.value === row.value);
      const metrics = [...new Set(rows.map((row) => row.metric))];
      let metric = metrics.includes(this.data.by) ? this.data.by : metrics[0];
      const order = [...this.data.ranked, ...this.data.benchmarks];
      const host = pw.byId("intervals");
      host.before(pw.make("div", { class: "controls" }, pw.select(
        "Figure", [metric, ...metrics.filter((one) => one !== metric)]
          .map((one) => [one, this.label(one)]),
        (chosen) => { metric = chosen; figure.redraw(); })));
      const figure = new pw.Figure(host, "With intervals", (width) => {
        const found = this.shown(order)
          .map((name) => rows.find((row) => row.variant === name && row.metric === metric))
          .filter(Boolean);
        const { most, left } = room(width, found.map((row) => row.variant).concat([""]));
        const unit = UNITS[metric] ?? "plain";
        const height = 62 + 24 * Math.max(1, found.length);
        figure.heading.textContent = `${this.label(metric)}, with intervals`;
        return {
          data: [{
            x: found.map((row) => row.value), y: found.map((_, at) => at), mode: "markers",
            type: "scatter", hoverinfo: "text",
            text: found.map((row) => pw.label(`${row.variant}: ${this.label(metric)} `
              + `${pw.form(row.value, unit)}${pw.bounds(row.lo, row.hi, unit)}`)),
            marker: { size: 9, color: found.map((row) => this.colour(row.variant)),
              symbol: found.map((row) => (row.kind === "benchmark" ? "diamond-open" : "circle")) },
          }, ...found.filter((row) => row.lo === row.lo && row.hi === row.hi).map((row) => ({
            x: [row.lo, row.hi], y: [found.indexOf(row), found.indexOf(row)], mode: "lines",
            type: "scatter", hoverinfo: "skip",
            line: { color: pw.faded(this.colour(row.variant), 0.55), width: 4 },
          }))],
          layout: {
            height, margin: { l: left, r: 16, t: 4, b: 40 },
            xaxis: pw.axis(this.label(metric), {
              range: widened(found.flatMap((row) => [row.value, row.lo, row.hi])),
              tickformat: unit === "percent" ? ".3~p" : unit === "money" ? ",.4~s" : "" }),
            yaxis: {
              tickvals: found.map((_, at) => at), autorange: false, zeroline: false,
              ticktext: found.map((row) => pw.label(cut(row.variant, most))),
              range: [Math.max(found.length, 1) - 0.5, -0.5], gridcolor: pw.colour("grid"),
            },
          },
        };
      }, { height: 62 + 24 * order.length });
      this.figures.push(figure);
    }

    // ── pairs ───────────────────────────────────────────────────────────────
    matrix() {
      const pairs = records(this.data.grids.pairwise);
      const metrics = [...new Set(pairs.map((row) => row.metric))];
      let metric = metrics.includes(this.data.by) ? this.data.by : metrics[0];
      pw.byId("pair-controls").append(pw.select("Difference in",
        [metric, ...metrics.filter((one) => one !== metric)].map((one) => [one, this.label(one)]),
        (chosen) => { metric = chosen; figure.redraw(); }));
      const figure = new pw.Figure(pw.byId("matrix"), "Row minus column", (width) => {
        const mine = pairs.filter((row) => row.metric === metric);
        const order = [...this.data.ranked, ...this.data.benchmarks];
        const names = this.shown(order)
          .filter((name) => mine.some((row) => row.a === name || row.b === name));
        const cells = new Map();
        for (const row of mine) {
          cells.set(`${row.a}\n${row.b}`, [row, 1]);
          cells.set(`${row.b}\n${row.a}`, [row, -1]);
        }
        const told = (row, sign) => {
          const [a, b] = sign > 0 ? [row.a, row.b] : [row.b, row.a];
          const [lo, hi] = sign > 0 ? [row.lo, row.hi] : [-row.hi, -row.lo];
          const apart = row.distinguishable === "yes" ? "told apart" : "not told apart";
          const unit = UNITS[metric] ?? "plain";
          return pw.label(`${a}\nminus ${b}\n${pw.form(sign * row.difference, unit)}`
            + `${pw.bounds(lo, hi, unit)}\np ${pw.form(row.p, "decimal")}, corrected `
            + `${pw.form(row.p_corrected, "decimal")}: ${apart}`).replaceAll("\n", "<br>");
        };
        const z = [], text = [], marks = [];
        names.forEach((a, i) => {
          z.push([]); text.push([]);
          names.forEach((b, j) => {
            const [row, sign] = cells.get(`${a}\n${b}`) ?? [null, 0];
            z[i].push(row && row.difference === row.difference ? sign * row.difference : null);
            text[i].push(row ? told(row, sign) : "");
            if (row && row.distinguishable === "yes")
              marks.push({ x: j, y: i, text: "◆", showarrow: false,
                font: { size: 11, color: pw.colour("ink") } });
          });
        });
        const widest = Math.max(1e-12, ...z.flat().filter((v) => v !== null).map(Math.abs));
        const { most, left } = room(width, names.concat([""]));
        const short = width < 560;
        const numbers = names.map((name) => {
          const rank = this.data.ranked.indexOf(name) + 1;
          return rank ? String(rank) : pw.label(SHORT[name] ?? name);
        });
        return {
          data: [{
            type: "heatmap", z, x: names.map((_, j) => j), y: names.map((_, i) => i), text,
            hoverinfo: "text", xgap: 1, ygap: 1, zmin: -widest, zmax: widest, zmid: 0,
            colorscale: [[0, pw.colour("m4")], [0.5, pw.colour("back")], [1, pw.colour("p4")]],
            showscale: !short,
            colorbar: { thickness: 10, outlinewidth: 0, tickfont: { size: 11 } },
          }],
          layout: {
            height: 60 + 26 * Math.max(1, names.length), annotations: marks,
            margin: { l: left + 20, r: short ? 12 : 70, t: 4, b: 46 },
            xaxis: pw.axis("minus the variant of rank", { tickvals: names.map((_, j) => j),
              ticktext: numbers, showgrid: false, zeroline: false, tickangle: 0 }),
            yaxis: { tickvals: names.map((_, i) => i), autorange: "reversed", showgrid: false,
              ticktext: names.map((name, i) => `${pw.label(cut(name, most))}  ${numbers[i]}`),
              zeroline: false },
          },
        };
      }, { height: 60 + 26 * (this.data.ranked.length + 2),
        told: "Differences between variants; every pair stands in the table below" });
      this.figures.push(figure);
      pw.byId("matrix").after(pw.make("p", { class: "key quiet" },
        "Blue: the row is ahead of the column; orange: behind. ◆ told apart, the number of pairs "
        + "counted."));
    }

    // ── periods ─────────────────────────────────────────────────────────────
    ranks() {
      const rows = records(this.data.grids.periods);
      const kinds = [...new Set(rows.map((row) => row.period_kind))];
      const metrics = [...new Set(rows.map((row) => row.metric))];
      let kind = kinds[0];
      let metric = metrics.includes(this.data.by) ? this.data.by : metrics[0];
      const inMetric = pw.select("in", [metric, ...metrics.filter((one) => one !== metric)]
        .map((one) => [one, this.label(one)]), (chosen) => { metric = chosen; figure.redraw(); });
      const options = [...inMetric.querySelectorAll("option")];
      const known = (one) => rows.some((row) => row.period_kind === kind && row.metric === one
        && row.rank === row.rank);
      // Of a contract alone there is no risk: what no period of a kind has cannot be chosen.
      const choose = (chosen) => {
        kind = chosen;
        for (const option of options) option.disabled = !known(option.value);
        if (!known(metric)) {
          metric = metrics.find(known) ?? metric;
          inMetric.querySelector("select").value = metric;
        }
        figure.redraw();
      };
      pw.byId("period-controls").append(
        pw.select("By", kinds.map((one) => [one, one === "symbol" ? "contract" : one]), choose),
        inMetric,
      );
      const figure = new pw.Figure(pw.byId("ranks"), "Rank in every period", (width) => {
        const mine = rows.filter((row) => row.period_kind === kind && row.metric === metric);
        const periods = [...new Set(mine.map((row) => row.period))];
        const names = this.shown(this.data.ranked);
        const unit = UNITS[metric] ?? "plain";
        const cell = new Map(mine.map((row) => [`${row.variant}\n${row.period}`, row]));
        const at = (name, period) => cell.get(`${name}\n${period}`);
        const marks = [];
        const z = names.map((name, i) => periods.map((period, j) => {
          const row = at(name, period);
          if (row?.wins === "yes")
            marks.push({ x: j, y: i, text: "◆", showarrow: false,
              font: { size: 11, color: pw.colour("ink") } });
          return row && row.rank === row.rank ? row.rank : null;
        }));
        const { most, left } = room(width, names.concat([""]));
        const every = Math.max(1, Math.ceil(periods.length / Math.max(1, (width - left) / 62)));
        return {
          data: [{
            type: "heatmap", z, x: periods.map((_, j) => j), y: names.map((_, i) => i),
            xgap: 1, ygap: 1, zmin: 1, zmax: Math.max(2, this.data.ranked.length), showscale: false,
            colorscale: [[0, pw.colour("p4")], [0.5, pw.colour("back")], [1, pw.colour("m4")]],
            hoverinfo: "text",
            text: names.map((name) => periods.map((period) => {
              const row = at(name, period);
              return row ? pw.label(`${name}, ${period}: ${this.label(metric)} `
                + `${pw.form(row.value, unit)}${pw.bounds(row.lo ?? NaN, row.hi ?? NaN, unit)}, `
                + `rank ${pw.form(row.rank)}, ${pw.form(row.n, "count")} rows`) : "";
            })),
          }],
          layout: {
            height: 56 + 24 * Math.max(1, names.length), annotations: marks,
            margin: { l: left, r: 12, t: 4, b: 40 },
            xaxis: { showgrid: false, zeroline: false,
              tickvals: periods.map((_, j) => j).filter((j) => j % every === 0),
              ticktext: periods.filter((_, j) => j % every === 0).map(pw.label) },
            yaxis: { tickvals: names.map((_, i) => i), autorange: "reversed", showgrid: false,
              ticktext: names.map((name) => pw.label(cut(name, most))), zeroline: false },
          },
        };
      }, { height: 56 + 24 * this.data.ranked.length,
        told: "Rank of each variant in every period; the figures stand in the table below" });
      this.figures.push(figure);
      pw.byId("ranks").after(pw.make("p", { class: "key quiet" },
        "Blue: ahead in that period; orange: behind. ◆ first."));
    }
  }
})();

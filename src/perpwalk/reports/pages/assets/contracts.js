// The page of one run whose account holds several contracts: one chooser, which shows a contract
// alone wherever it has something of its own, and says what is of the whole account.
"use strict";
(() => {
  const pw = globalThis.perpwalk;
  const ALL = "";
  const WHOLE = "whole account";
  // Sections that follow the choice; the others are of the whole account.
  const FOLLOW = ["time", "periods", "forecasts", "learning", "trades", "costs"];
  const FORECASTS = ["groups", "roc", "calibration", "distribution"];
  const OWN = "own"; // key of the chooser's filter among those of a table

  // ── what is of whom ───────────────────────────────────────────────────────

  const mine = (packed, name) => {
    const symbols = name === ALL ? null : pw.column(packed, "symbol");
    return symbols ? (row) => symbols[row] === name : () => true;
  };

  // The rows of a packed table that are of a contract, as a packed table.
  function part(packed, name) {
    const keep = mine(packed, name);
    const rows = Array.from({ length: packed.rows }, (_, row) => row).filter(keep);
    const columns = packed.columns.map((column) => {
      const values = pw.values(column);
      const kept = rows.map((row) => values[row]);
      return column.kind === "time" ? { name: column.name, kind: "time", all: kept }
        : column.kind === "number" ? { name: column.name, kind: "number", values: kept }
          : { name: column.name, kind: "text", texts: kept };
    });
    return { rows: rows.length, columns };
  }

  // Entries and exits under the rows of the table; those of others lie at no time at all.
  function marks(grid, name) {
    const column = (wanted) => pw.column(grid, wanted);
    const keep = mine(grid, name);
    const found = {
      opened: column("opened_at"), closed: column("closed_at"), entry: column("entry_price"),
      exit: column("exit_price"), side: column("side"), net: column("net_pnl"),
    };
    if (Object.values(found).includes(null)) return null;
    const at = (stamps, never) => Array.from(stamps, (ms, row) => (keep(row) ? ms : never));
    return { ...found, opened: at(found.opened, Infinity), closed: at(found.closed, -Infinity) };
  }

  function featuresOf(found, name) {
    const columns = found.folds.map((fold, k) => k)
      .filter((k) => found.folds[k].startsWith(`${name} `));
    const kept = new Map(found.names.map((feature, k) => [
      feature, columns.flatMap((from, to) => (found.kept[k].includes(from) ? [to] : []))]));
    const names = found.names.filter((feature) => kept.get(feature).length)
      .sort((a, b) => kept.get(b).length - kept.get(a).length);
    return {
      folds: columns.map((k) => found.folds[k].slice(name.length + 1)), names,
      kept: names.map((feature) => kept.get(feature)), candidates: found.candidates,
    };
  }

  // ── curves over time ──────────────────────────────────────────────────────

  const copied = (panel, more = {}) =>
    ({ ...panel, series: panel.series.map((one) => ({ ...one })), ...more });

  // Values at every stamp from those at some: each holds until the next.
  function spreadOut(values, rows, count) {
    if (!rows) return values;
    const found = new Float32Array(count);
    rows.forEach((row, k) => found.fill(values[k], row, rows[k + 1] ?? count));
    return found;
  }

  function panelsOf(data, name) {
    const { names, each, rows, stretch } = data.contracts;
    const account = data.overTime.panels.map((panel) => copied(panel));
    if (names.some((one) => !each[one].panels)) return name === ALL ? account : null;
    const count = pw.stamps(data.overTime.time).length;
    const thinned = stretch > 1 ? `, lowest and highest of ${pw.form(stretch, "count")} bars` : "";
    const spread = (one) => ({ ...one, values: spreadOut(one.values, rows, count) });
    if (name !== ALL) {
      return [
        ...account.filter((panel) => ["equity", "drawdown"].includes(panel.id))
          .map((panel) => copied(panel, { title: `${panel.title} of the ${WHOLE}` })),
        ...each[name].panels.map((panel) => ({
          ...panel, title: `${panel.title}${thinned}`, series: panel.series.map(spread),
        })),
      ];
    }
    const prices = names.map((one, k) => {
      const { values, ...more } = each[one].panels.find((panel) => panel.id === "price").series[0];
      const close = spread({ ...more, values }).values;
      return { ...more, label: one, colour: `v${k % 8}`, values: close.map((v) => v / close[0]) };
    });
    account.splice(2, 0, {
      id: "prices", title: `Price of each contract, the first close being 1${thinned}`,
      unit: "ratio", series: prices, height: 170, log: true,
    });
    return account;
  }

  // ── the page ──────────────────────────────────────────────────────────────

  // A long table whose rows of one contract can be asked for, beside its own filters.
  class Rows extends pw.Grid {
    show(keep) {
      if (this.rows === 0) return;
      this.own = keep;
      if (keep) this.filters.set(OWN, keep); else this.filters.delete(OWN);
      this.choose();
    }

    clear() {
      super.clear();
      this.show(this.own);
    }
  }

  class View {
    constructor(data) {
      this.data = data;
      this.options = { stamp: data.stamp };
      this.chosen = ALL;
      this.hosts = new Map();
      this.charts = new Map();
      this.select = pw.byId("contract");
      this.say = pw.byId("shown");
      this.together = this.say.textContent;
      this.grids = new Map();
      for (const host of document.querySelectorAll("[data-grid]")) {
        const name = host.dataset.grid;
        const go = name === "trades" && this.overTime && marks(data.grids.trades, ALL)
          ? { label: "Show in the charts: trade", act: (row) => this.showTrade(row) } : null;
        this.grids.set(name, new Rows(host, data.grids[name], { go }));
      }
      this.select.addEventListener("change", () => this.choose(this.select.value));
      this.select.value = ALL;
      this.choose(ALL);
    }

    get overTime() { return Boolean(this.data.overTime && pw.byId("overtime")); }

    choose(name) {
      this.chosen = name;
      const one = name === ALL ? null : this.data.contracts.each[name];
      this.select.value = name;
      this.select.parentElement.classList.toggle("one", one !== null);
      this.say.textContent = one === null ? this.together
        : `${name} alone, where a contract has something of its own: its net return is what it added `
          + "to the account's. Verdict, findings, equity, drawdown and the figures under “How sure” "
          + "are of the whole account.";
      this.sayWhose(name);
      this.showCards(one);
      this.showPeriods(one, name);
      for (const host of document.querySelectorAll("[data-part]"))
        this.inPlaceOf(host, one?.tables[host.dataset.part] && pw.table(one.tables[host.dataset.part]));
      for (const [table, grid] of this.grids) grid.show(this.keeps(table, name));
      this.drawCharts(name);
      this.drawForecasts(one, name);
      this.drawLearning(name);
      pw.charts = this.charts.get(name) ?? null;
    }

    // Of the table of periods the contract's own row and those of all; of others its rows.
    keeps(table, name) {
      if (name === ALL) return null;
      const packed = this.data.grids[table];
      if (table !== "metrics") return pw.column(packed, "symbol") ? mine(packed, name) : null;
      const [kind, period] = [pw.column(packed, "period_kind"), pw.column(packed, "period")];
      return (row) => kind[row] !== "symbol" || period[row] === name;
    }

    sayWhose(name) {
      for (const section of document.querySelectorAll("main section[id]")) {
        const heading = section.querySelector(":scope > h2");
        if (!heading || section.id === "repeat" || section.id === "unjudged") continue;
        heading.querySelector(".whose")?.remove();
        if (name === ALL) continue;
        const follows = FOLLOW.includes(section.id);
        heading.append(pw.make("span", { class: follows ? "whose one" : "whose" },
          follows ? name : WHOLE));
      }
    }

    // Show `element` where `host` stands; nothing brings the host back.
    inPlaceOf(host, element) {
      if (!host) return;
      if (host.nextElementSibling?.dataset.inPlace) host.nextElementSibling.remove();
      host.hidden = Boolean(element);
      if (!element) return;
      element.dataset.inPlace = "yes";
      host.after(element);
    }

    showCards(one) {
      const cards = one?.cards.length ? pw.make("section", {
        class: "cards", "aria-label": `Headline figures of ${this.chosen}`,
      }, ...one.cards.map(pw.card)) : null;
      this.inPlaceOf(document.querySelector("main > .cards"), cards);
    }

    showPeriods(one, name) {
      const [kinds, calendar] = document.querySelectorAll("#periods .switched");
      for (const [switched, tables, first] of [
        [kinds, one?.periods, "period"], [calendar, one?.calendars, "year"]]) {
        if (!switched) continue;
        const tabs = [...switched.querySelectorAll(":scope > .tabs button")];
        [...switched.querySelectorAll(":scope > .shown")].forEach((shown, k) => {
          const host = shown.querySelector(".scroll");
          const wanted = tabs[k].textContent;
          if (wanted === "symbol") {
            for (const row of host.querySelectorAll("tbody tr:not(.whole)"))
              row.hidden = name !== ALL && row.dataset.row !== name;
            return;
          }
          const found = tables?.find((table) => table.name === wanted);
          this.inPlaceOf(host, found ? pw.heat(found, first) : one && pw.empty(
            first === "year" ? `${wanted} is of the ${WHOLE}: a contract has none of its own.`
              : "This run keeps no periods by contract: make it again to see them."));
        });
      }
    }

    // Elements of these ids, of each contract its own: what was drawn once stays drawn.
    own(ids, name, draw) {
      const key = `${ids[0]} ${name}`;
      const found = this.hosts.get(key) ?? ids.map((id) =>
        (name === ALL ? pw.byId(id) : pw.byId(id).cloneNode(false)));
      ids.forEach((id, k) => { if (pw.byId(id) !== found[k]) pw.byId(id).replaceWith(found[k]); });
      if (this.hosts.has(key)) return;
      this.hosts.set(key, found);
      draw(found);
    }

    drawCharts(name) {
      if (!this.overTime) return;
      const before = pw.charts;
      this.own(["overtime"], name, ([host]) => {
        const panels = panelsOf(this.data, name);
        if (panels === null) {
          host.append(pw.empty("This run keeps no bars by contract: make it again to see them."));
          return;
        }
        const { folds, trades } = this.data.grids;
        this.charts.set(name, new pw.OverTime(host, { ...this.data.overTime, panels }, {
          ...this.options, trades: marks(trades, name),
          refits: [...new Set(pw.column(folds, "test_start") ?? [])],
        }));
      });
      const charts = this.charts.get(name);
      if (!charts || !before || charts === before) return;
      charts.setView(...before.view);
      charts.moveCursor(before.cursor);
    }

    drawForecasts(one, name) {
      if (!FORECASTS.every((id) => pw.byId(id))) return;
      const found = one === null ? this.data.forecasts : one.forecasts;
      this.own(FORECASTS, name, ([host]) => {
        if (found) pw.forecastFigures(found, this.options);
        else host.append(pw.empty(`${name} has no decision with both a forecast and a label.`));
      });
    }

    drawLearning(name) {
      const { grids, features } = this.data;
      if (pw.byId("training"))
        this.own(["training"], name, () => pw.trainingFigures(part(grids.training, name), this.options));
      if (features && pw.byId("features"))
        this.own(["features"], name, () => pw.featureFigure(
          name === ALL ? features : featuresOf(features, name), this.options));
    }

    // A trade's marks stand on the price of its own contract: that is chosen with it.
    showTrade(row) {
      const { trades } = this.data.grids;
      const name = pw.column(trades, "symbol")?.[row] ?? ALL;
      if (this.data.contracts.each[name]?.panels) this.choose(name);
      const charts = pw.charts;
      charts.show(pw.column(trades, "opened_at")[row], pw.column(trades, "closed_at")[row]);
      charts.panels.find((one) => one.id === "price")?.box.scrollIntoView({ block: "center" });
      charts.body.focus({ preventScroll: true });
    }
  }

  pw.startRun = (data) => { pw.chooser = new View(data); };
})();

// Panels on one time axis: zoom, pan and cursor act on all of them. Plotly draws; what is drawn is
// thinned to what is visible, the lowest and highest value of every stretch kept.
"use strict";
(() => {
  const pw = globalThis.perpwalk;
  const LEFT = 62, RIGHT = 12, TOP = 6, BOTTOM = 36, UNDER = 8;
  const LATER = 120; // milliseconds after the last change, panels out of sight are drawn too
  const MOST_MARKS = 400;
  const MOST_REFITS = 60;
  const DAY = 86400000;
  const LOG_FROM = 20; // a curve that spans more is shown on a logarithmic scale at first
  const SPANS = [["1W", 7], ["1M", 30], ["3M", 91], ["1Y", 365], ["All", Infinity]];

  // Row numbers between first and last that keep the extremes of each of `stretches` stretches.
  pw.thinned = (values, first, last, stretches) => {
    const count = last - first + 1;
    if (count <= 2 * stretches) return Array.from({ length: count }, (_, i) => first + i);
    const kept = [first];
    for (let s = 0; s < stretches; s += 1) {
      const start = first + Math.floor((s * count) / stretches);
      const stop = first + Math.floor(((s + 1) * count) / stretches);
      let low = -1, high = -1;
      for (let i = start; i < stop; i += 1) {
        if (values[i] !== values[i]) continue;
        if (low < 0 || values[i] < values[low]) low = i;
        if (high < 0 || values[i] > values[high]) high = i;
      }
      if (low < 0) { kept.push(start); continue; }
      const [a, b] = low < high ? [low, high] : [high, low];
      if (a > kept[kept.length - 1]) kept.push(a);
      if (b > kept[kept.length - 1]) kept.push(b);
    }
    if (kept[kept.length - 1] < last) kept.push(last);
    return kept;
  };

  const spread = (values) => {
    let low = Infinity, high = 0;
    for (const value of values) {
      if (value < low) low = value;
      if (value > high) high = value;
    }
    return high / low;
  };

  // Round numbers between low and high, about as many as asked for.
  pw.ticks = (low, high, wanted) => {
    const rough = (high - low) / Math.max(1, wanted);
    const unit = 10 ** Math.floor(Math.log10(rough));
    const wide = [1, 2, 5, 10].map((m) => m * unit).find((one) => one >= rough * 0.999);
    const at = (step) => {
      const found = [];
      for (let k = Math.ceil(low / step - 1e-9); k * step <= high + 1e-9 * step; k += 1)
        found.push(Number((k * step).toPrecision(12)));
      return found;
    };
    return at(wide).length < 3 ? at(wide / (String(wide)[0] === "5" ? 2.5 : 2)) : at(wide);
  };

  // First row whose stamp is not before `ms`.
  pw.rowAt = (time, ms) => {
    let low = 0, high = time.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (time[middle] < ms) low = middle + 1; else high = middle;
    }
    return low;
  };

  pw.OverTime = class {
    constructor(host, document_, { stamp = "", trades = null, nav = 0, keys = true, onCursor = null, refits = [] } = {}) {
      this.time = pw.stamps(document_.time);
      this.panels = document_.panels;
      this.stamp = stamp;
      this.trades = trades;
      this.refits = refits.filter((ms) => ms > this.time[0]);
      this.keys = keys; // whether every curve has a switch in its panel's head
      this.onCursor = onCursor;
      this.first = this.time[0];
      this.last = this.time[this.time.length - 1];
      this.view = [this.first, this.last];
      this.cursor = null;
      this.navSeries = this.panels[0].series[nav];
      this.build(host);
      this.draw = pw.perFrame(() => this.drawNow());
      this.watch();
      pw.onTheme(() => this.draw());
      this.draw();
    }

    // Panels in sight are drawn at once, the others when nothing has changed for a moment.
    watch() {
      new ResizeObserver(() => this.draw()).observe(this.body);
      const sight = new IntersectionObserver((entries) => {
        for (const entry of entries)
          this.panels.find((panel) => panel.box === entry.target).seen = entry.isIntersecting;
        if (this.panels.some((panel) => panel.seen && panel.stale)) this.drawStale(true);
      }, { rootMargin: "100px" });
      this.panels.forEach((panel) => sight.observe(panel.box));
    }

    drawStale(inSight) {
      for (const panel of this.panels) {
        if (!panel.stale || (inSight && !panel.seen)) continue;
        this.drawPanel(panel, panel === this.panels[this.panels.length - 1]);
        panel.stale = false;
      }
      this.body.dataset.stale = this.panels.some((panel) => panel.stale) ? "yes" : "no";
    }

    // ── what is on the page ─────────────────────────────────────────────────
    build(host) {
      host.classList.add("overtime");
      this.label = pw.make("span", { class: "span" });
      const strip = pw.make("div", { class: "strip", role: "group", "aria-label": "Zoom" });
      for (const [name, days] of SPANS) {
        if (days * DAY < this.last - this.first || days === Infinity)
          strip.append(pw.button(name, () => (days === Infinity ? this.showAll() : this.showLast(days * DAY)), {
            "aria-label": days === Infinity ? "Show all" : `Show ${days} days`,
          }));
      }
      strip.append(
        pw.button("−", () => this.zoom(2), { "aria-label": "Zoom out" }),
        pw.button("+", () => this.zoom(0.5), { "aria-label": "Zoom in" }),
        pw.button("←", () => this.pan(-0.25), { "aria-label": "Earlier" }),
        pw.button("→", () => this.pan(0.25), { "aria-label": "Later" }),
        this.label,
      );
      this.spoken = pw.make("p", { class: "unseen", "aria-live": "polite" });
      this.body = pw.make("div", {
        class: "panels", tabindex: "0", role: "group",
        "aria-label": "Charts over time. Arrow keys move the cursor, with Shift the view; plus and "
          + "minus zoom; 0 shows all.",
        onkeydown: (event) => this.key(event),
      });
      this.panels.forEach((panel) => this.body.append(this.buildPanel(panel)));
      host.append(strip, this.buildNavigator(), this.body, this.spoken, this.help());
    }

    help() {
      const key = (name) => pw.make("kbd", {}, name);
      return pw.make("p", { class: "help keys" }, "Drag to zoom, ", key("Shift"), " drag to move, ",
        key("Ctrl"), " wheel to zoom, double click to show all. With the charts in focus: ",
        key("←"), " ", key("→"), " cursor, ", key("+"), " ", key("−"), " zoom, ", key("0"), " all.",
        this.refits.length && this.refits.length <= MOST_REFITS ? " Dotted lines: the model is refitted." : "");
    }

    buildPanel(panel) {
      panel.isLog = panel.log && spread(panel.series[0].values) > LOG_FROM;
      const head = pw.make("div", { class: "head" }, pw.make("b", {}, panel.title));
      panel.note = pw.make("span", { class: "quiet" });
      for (const one of panel.series) {
        one.readout = pw.make("span", { class: "value" });
        one.swatch = pw.make("i");
        one.key = pw.button("", () => this.toggle(panel, one), {
          class: "series", "aria-pressed": String(one.on),
        });
        one.key.append(one.swatch, one.label, one.readout);
        if (this.keys) head.append(one.key);
      }
      head.append(panel.note);
      if (panel.log) {
        panel.logButton = pw.button("log", () => {
          panel.isLog = !panel.isLog;
          panel.logButton.setAttribute("aria-pressed", String(panel.isLog));
          this.draw();
        }, { class: "tool", "aria-pressed": String(panel.isLog), "aria-label": `${panel.title}: logarithmic` });
        head.append(panel.logButton);
      }
      panel.plot = pw.make("div", { class: "plot", id: `panel-${panel.id}` });
      panel.line = pw.make("div", { class: "cursor" });
      panel.band = pw.make("div", { class: "band" });
      panel.tip = pw.make("div", { class: "tip" });
      panel.stage = pw.make("div", { class: "stage" }, panel.plot, panel.line, panel.band, panel.tip);
      this.listen(panel.stage);
      panel.box = pw.make("div", { class: "panel", "data-panel": panel.id }, head, panel.stage);
      return panel.box;
    }

    buildNavigator() {
      this.canvas = pw.make("canvas", { "aria-hidden": "true" });
      const slider = (name, at) => pw.make("input", {
        type: "range", min: "0", max: "1000", value: at, "aria-label": name,
        oninput: () => this.slide(),
      });
      this.from = slider("From", "0");
      this.to = slider("To", "1000");
      return pw.make("div", { class: "navigator" }, this.canvas, this.from, this.to);
    }

    toggle(panel, one) {
      one.on = !one.on;
      one.key.setAttribute("aria-pressed", String(one.on));
      this.draw();
    }

    // ── the view ────────────────────────────────────────────────────────────
    setView(from, to) {
      const least = 4 * Math.max(1, (this.last - this.first) / (this.time.length - 1));
      const wide = Math.min(Math.max(to - from, least), this.last - this.first);
      const start = Math.min(Math.max((from + to - wide) / 2, this.first), this.last - wide);
      this.view = [start, start + wide];
      this.draw();
    }

    showLast(wide) { this.setView(Math.max(this.view[1] - wide, this.first), this.view[1]); }

    showAll() { this.setView(this.first, this.last); }

    zoom(factor, about = null) {
      const [from, to] = this.view;
      const at = about ?? (this.cursor === null ? (from + to) / 2 : this.time[this.cursor]);
      const fixed = Math.min(Math.max(at, from), to);
      this.setView(fixed - (fixed - from) * factor, fixed + (to - fixed) * factor);
    }

    pan(share) {
      const wide = this.view[1] - this.view[0];
      const by = Math.min(Math.max(share * wide, this.first - this.view[0]), this.last - this.view[1]);
      this.setView(this.view[0] + by, this.view[1] + by);
    }

    slide() {
      const place = (input) => this.first + (Number(input.value) / 1000) * (this.last - this.first);
      const [a, b] = [place(this.from), place(this.to)];
      this.setView(Math.min(a, b), Math.max(a, b));
    }

    // Show a span with some room around it, and put the cursor at its start.
    show(from, to) {
      const room = Math.max(3 * (to - from), 30 * (this.last - this.first) / this.time.length);
      this.setView(from - room, to + room);
      this.moveCursor(Math.min(pw.rowAt(this.time, from), this.time.length - 1));
    }

    // ── pointer and keys ────────────────────────────────────────────────────
    stampAt(stage, event) {
      const box = stage.getBoundingClientRect();
      const wide = Math.max(1, box.width - LEFT - RIGHT);
      const share = Math.min(Math.max((event.clientX - box.left - LEFT) / wide, 0), 1);
      return this.view[0] + share * (this.view[1] - this.view[0]);
    }

    // Two fingers: what was between them stays between them. One moves the cursor.
    pinch(stage) {
      const fingers = new Map();
      const place = () => {
        const [a, b] = [...fingers.values()];
        return { middle: (a + b) / 2, wide: Math.max(20, Math.abs(a - b)) };
      };
      stage.addEventListener("pointerdown", (event) => {
        if (event.pointerType === "touch") fingers.set(event.pointerId, event.clientX);
      });
      stage.addEventListener("pointermove", (event) => {
        if (!fingers.has(event.pointerId)) return;
        if (fingers.size !== 2) { fingers.set(event.pointerId, event.clientX); return; }
        const before = place();
        const about = this.stampAt(stage, { clientX: before.middle });
        fingers.set(event.pointerId, event.clientX);
        const after = place();
        this.zoom(before.wide / after.wide, about);
        this.pan((before.middle - after.middle) / Math.max(1, stage.clientWidth - LEFT - RIGHT));
      });
      for (const name of ["pointerup", "pointercancel", "pointerleave"])
        stage.addEventListener(name, (event) => fingers.delete(event.pointerId));
    }

    listen(stage) {
      let drag = null;
      this.pinch(stage);
      stage.addEventListener("pointermove", (event) => {
        const at = this.stampAt(stage, event);
        if (drag === null) { this.pointAt(at); this.showNearest(stage, event); return; }
        if (drag.pan) {
          this.pan((drag.x - event.clientX) / Math.max(1, stage.clientWidth - LEFT - RIGHT));
          drag.x = event.clientX;
        } else { drag.to = at; this.showBand(drag.from, drag.to); }
      });
      stage.addEventListener("pointerleave", () => {
        if (drag === null) this.moveCursor(null);
        this.showNearest(null);
      });
      stage.addEventListener("pointerdown", (event) => {
        if (event.button !== 0 || event.pointerType === "touch") {
          this.pointAt(this.stampAt(stage, event));
          return;
        }
        const at = this.stampAt(stage, event);
        drag = { from: at, to: at, pan: event.shiftKey, x: event.clientX, start: event.clientX };
        stage.setPointerCapture(event.pointerId);
      });
      const end = (event) => {
        if (drag === null) return;
        const done = drag;
        drag = null;
        this.showBand(null);
        if (!done.pan && Math.abs(event.clientX - done.start) > 5)
          this.setView(Math.min(done.from, done.to), Math.max(done.from, done.to));
      };
      stage.addEventListener("pointerup", end);
      stage.addEventListener("pointercancel", end);
      stage.addEventListener("dblclick", () => this.showAll());
      stage.addEventListener("wheel", (event) => {
        if (event.ctrlKey || event.metaKey) {
          event.preventDefault();
          this.zoom(Math.exp(event.deltaY * 0.002), this.stampAt(stage, event));
        } else if (Math.abs(event.deltaX) > Math.abs(event.deltaY)) {
          event.preventDefault();
          this.pan(event.deltaX / stage.clientWidth);
        }
      }, { passive: false });
    }

    key(event) {
      if (event.target !== this.body) return;
      const step = Math.max(1, Math.round((this.rows()[1] - this.rows()[0]) / 100));
      const acts = {
        ArrowLeft: () => (event.shiftKey ? this.pan(-0.1) : this.stepCursor(-step)),
        ArrowRight: () => (event.shiftKey ? this.pan(0.1) : this.stepCursor(step)),
        Home: () => this.moveCursor(this.rows()[0]), End: () => this.moveCursor(this.rows()[1]),
        "+": () => this.zoom(0.5), "=": () => this.zoom(0.5), "-": () => this.zoom(2),
        0: () => this.showAll(), Escape: () => this.moveCursor(null),
      };
      if (!(event.key in acts) || event.ctrlKey || event.metaKey || event.altKey) return;
      event.preventDefault();
      acts[event.key]();
      this.speak();
    }

    stepCursor(by) {
      const [first, last] = this.rows();
      const from = this.cursor === null ? (by > 0 ? first : last) : this.cursor + by;
      this.moveCursor(Math.min(Math.max(from, first), last));
    }

    pointAt(ms) {
      const after = Math.min(pw.rowAt(this.time, ms), this.time.length - 1);
      const before = Math.max(after - 1, 0);
      this.moveCursor(ms - this.time[before] < this.time[after] - ms ? before : after);
    }

    moveCursor(row) {
      this.cursor = row;
      this.showCursor();
    }

    showCursor() {
      const share = this.cursor === null ? -1
        : (this.time[this.cursor] - this.view[0]) / (this.view[1] - this.view[0]);
      const row = this.cursor === null ? this.rows()[1] : this.cursor;
      for (const panel of this.panels) {
        const wide = panel.stage.clientWidth - LEFT - RIGHT;
        panel.line.style.display = share >= 0 && share <= 1 ? "block" : "none";
        panel.line.style.left = `${LEFT + share * wide}px`;
        for (const one of panel.series) one.readout.textContent = pw.form(one.values[row], panel.unit);
      }
      this.onCursor?.(row);
      this.tellTrade();
      const [from, to] = this.view;
      const [a, b] = this.rows();
      const bars = `${pw.form(b - a + 1, "count")} bars`;
      this.label.textContent = this.cursor === null
        ? `${pw.stamp(from, to - from < 10 * DAY)} – ${pw.stamp(to, to - from < 10 * DAY)} · ${bars}`
        : `${pw.stamp(this.time[this.cursor])} UTC · ${bars} in view`;
    }

    // The trade that is open at the cursor, in the head of the price panel.
    tellTrade() {
      const panel = this.panels.find((one) => one.id === "price");
      if (!panel || !this.trades) return;
      const { opened, closed, side, net, entry, exit } = this.trades;
      const at = this.cursor === null ? NaN : this.time[this.cursor];
      const row = this.cursor === null ? -1
        : opened.findIndex((from, i) => from <= at && at < closed[i]);
      panel.note.textContent = row < 0 ? panel.count ?? ""
        : `trade ${row}: ${side[row]} ${pw.form(entry[row], "price")} → `
          + `${pw.form(exit[row], "price")}, net ${pw.form(net[row], "money")}`;
    }

    // Among many curves: the name and value of the one nearest to the pointer.
    showNearest(stage, event) {
      for (const panel of this.panels) {
        panel.tip.style.display = "none";
        if (this.keys || panel.stage !== stage || this.cursor === null || !panel.toPixel) continue;
        const box = stage.getBoundingClientRect();
        const y = event.clientY - box.top;
        const away = (one) => Math.abs(panel.toPixel(one.values[this.cursor]) - y);
        const [nearest] = panel.series.filter((one) => one.on && away(one) === away(one))
          .sort((a, b) => away(a) - away(b));
        if (!nearest) continue;
        panel.tip.textContent = `${nearest.label} ${pw.form(nearest.values[this.cursor], panel.unit)}`;
        panel.tip.style.display = "block";
        const x = event.clientX - box.left;
        const left = x + 14 + panel.tip.offsetWidth > box.width ? x - 14 - panel.tip.offsetWidth : x + 14;
        panel.tip.style.left = `${Math.max(0, left)}px`;
        panel.tip.style.top = `${Math.max(0, panel.toPixel(nearest.values[this.cursor]) - 30)}px`;
        panel.tip.style.borderColor = pw.colour(nearest.colour);
      }
    }

    speak() {
      if (this.cursor === null) { this.spoken.textContent = this.label.textContent; return; }
      const told = this.panels.flatMap((panel) => panel.series.filter((one) => one.on).slice(0, 8)
        .map((one) => `${one.label} ${pw.form(one.values[this.cursor], panel.unit)}`));
      this.spoken.textContent = `${pw.stamp(this.time[this.cursor])}: ${told.join(", ")}`;
    }

    showBand(from, to) {
      for (const panel of this.panels) {
        panel.band.style.display = from === null ? "none" : "block";
        if (from === null) continue;
        const wide = panel.stage.clientWidth - LEFT - RIGHT;
        const place = (ms) => LEFT + wide * (ms - this.view[0]) / (this.view[1] - this.view[0]);
        panel.band.style.left = `${place(Math.min(from, to))}px`;
        panel.band.style.width = `${Math.abs(place(to) - place(from))}px`;
      }
    }

    // ── drawing ─────────────────────────────────────────────────────────────
    rows() {
      const first = pw.rowAt(this.time, this.view[0]);
      const last = Math.min(pw.rowAt(this.time, this.view[1] + 1), this.time.length) - 1;
      return [Math.min(first, this.time.length - 1), Math.max(last, 0)];
    }

    drawNow() {
      if (this.body.clientWidth === 0) return; // inside something closed
      this.panels.forEach((panel) => { panel.stale = true; });
      this.drawStale(true);
      clearTimeout(this.later);
      this.later = setTimeout(() => this.drawStale(false), LATER);
      const place = (ms) => String(Math.round(1000 * (ms - this.first) / (this.last - this.first)));
      if (document.activeElement !== this.from) this.from.value = place(this.view[0]);
      if (document.activeElement !== this.to) this.to.value = place(this.view[1]);
      for (const [input, ms] of [[this.from, this.view[0]], [this.to, this.view[1]]])
        input.setAttribute("aria-valuetext", pw.stamp(ms));
      this.drawNavigator();
      this.showCursor();
      this.body.dataset.drawn = String(Number(this.body.dataset.drawn ?? 0) + 1);
    }

    drawPanel(panel, isLast) {
      const wide = panel.stage.clientWidth;
      const [first, last] = [Math.max(this.rows()[0] - 1, 0),
        Math.min(this.rows()[1] + 1, this.time.length - 1)];
      const traces = [];
      let low = Infinity, high = -Infinity;
      for (const one of panel.series) {
        const colour = pw.colour(one.colour);
        one.swatch.style.color = colour;
        if (!one.on) continue;
        const pixels = one.shape === "step" ? 3 : 1.5; // a step costs two corners
        const kept = pw.thinned(one.values, first, last, Math.max(50, Math.round(wide / pixels)));
        const y = kept.map((row) => one.values[row]);
        for (const value of y) {
          if (value < low && !(panel.isLog && value <= 0)) low = value;
          if (value > high) high = value;
        }
        traces.push({
          x: kept.map((row) => this.time[row]), y, type: "scatter", mode: "lines",
          hoverinfo: "skip", name: pw.label(one.label),
          line: { color: colour, width: one.width ?? 1.5, dash: one.dash ?? "solid",
            shape: one.shape === "step" ? "hv" : "linear" },
          ...(one.shape === "line" ? {}
            : { fill: "tozeroy", fillcolor: pw.faded(colour, 0.22) }),
        });
      }
      if (panel.id === "price" && this.trades) traces.push(...this.marks(panel));
      const layout = this.layout(panel, isLast, wide, low, high);
      Plotly.react(panel.plot, traces, layout, { staticPlot: true, displayModeBar: false });
    }

    layout(panel, isLast, wide, low, high) {
      const quiet = pw.colour("quiet");
      const filled = panel.series.some((one) => one.shape !== "line");
      if (!(high >= low)) { low = 0; high = 1; }
      if (filled) { low = Math.min(low, 0); high = Math.max(high, 0); }
      let range;
      if (panel.isLog) {
        const [a, b] = [Math.log10(low), Math.log10(Math.max(high, low))];
        const room = Math.max(0.05 * (b - a), 0.002);
        range = [a - room, b + room];
      } else {
        const room = Math.max(0.06 * (high - low), 1e-9 * Math.max(1, Math.abs(high)));
        range = [low - room, high + room];
      }
      const inner = panel.height - TOP - UNDER;
      const scaled = (value) => (panel.isLog ? Math.log10(value) : value);
      panel.toPixel = (value) =>
        TOP + inner * (1 - (scaled(value) - range[0]) / (range[1] - range[0]));
      return {
        width: wide, height: panel.height + (isLast ? BOTTOM - UNDER : 0),
        margin: { l: LEFT, r: RIGHT, t: TOP, b: isLast ? BOTTOM : UNDER },
        paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", showlegend: false,
        font: { family: getComputedStyle(document.body).fontFamily, size: 11, color: quiet },
        xaxis: {
          type: "date", range: [...this.view], gridcolor: pw.colour("grid"), zeroline: false,
          showticklabels: isLast, ticks: "", nticks: Math.max(3, Math.round(wide / 130)),
          hoverformat: "%Y-%m-%d %H:%M",
        },
        yaxis: {
          range, type: panel.isLog ? "log" : "linear", gridcolor: pw.colour("grid"),
          zeroline: !panel.isLog, zerolinecolor: pw.colour("line"), automargin: false,
          tickformat: panel.unit === "percent" ? ".3~p" : panel.unit === "price" ? ",~g" : ",.5~s",
          // Over less than a decade a logarithmic axis has too few round numbers of its own.
          ...(panel.isLog && range[1] - range[0] > 1 ? { dtick: range[1] - range[0] > 1.5 ? 1 : "D2" }
            : { tickvals: pw.ticks(low, high > low ? high : low + Math.abs(low) + 1,
              panel.height / 45) }),
        },
        annotations: pw.stamped(this.stamp),
        shapes: this.refits.length > MOST_REFITS ? [] : this.refits.map((ms) => ({
          type: "line", x0: ms, x1: ms, yref: "paper", y0: 0, y1: 1, layer: "below",
          line: { color: pw.colour("line"), width: 1, dash: "dot" },
        })),
      };
    }

    // Trades in view: entry and exit, joined; too many at once would be a smear.
    marks(panel) {
      const { opened, closed, entry, exit, side, net } = this.trades;
      const [from, to] = this.view;
      const seen = [];
      let total = 0;
      for (let i = 0; i < opened.length; i += 1) {
        if (closed[i] < from || opened[i] > to) continue;
        total += 1;
        if (seen.length < MOST_MARKS) seen.push(i);
      }
      panel.count = total > MOST_MARKS
        ? `${pw.form(total, "count")} trades in view: zoom in to see each`
        : total ? `${pw.form(total, "count")} trades in view` : "";
      if (total > MOST_MARKS || total === 0) return [];
      const traces = [];
      for (const [won, colour] of [[true, pw.colour("win")], [false, pw.colour("loss")]]) {
        const mine = seen.filter((i) => (net[i] > 0) === won);
        traces.push({
          x: mine.flatMap((i) => [opened[i], closed[i], null]),
          y: mine.flatMap((i) => [entry[i], exit[i], null]),
          type: "scatter", mode: "lines", hoverinfo: "skip",
          line: { color: colour, width: 1.5, dash: won ? "solid" : "dot" },
        }, {
          x: mine.map((i) => opened[i]), y: mine.map((i) => entry[i]), type: "scatter",
          mode: "markers", hoverinfo: "skip", name: won ? "won" : "lost",
          marker: { color: colour, size: 9, line: { width: 1, color: pw.colour("back") },
            symbol: mine.map((i) => (side[i] === "short" ? "triangle-down" : "triangle-up")) },
        }, {
          x: mine.map((i) => closed[i]), y: mine.map((i) => exit[i]), type: "scatter",
          mode: "markers", hoverinfo: "skip", marker: { color: colour, size: 6, symbol: "x-thin-open" },
        });
      }
      return traces;
    }

    drawNavigator() {
      const { canvas } = this;
      const ratio = window.devicePixelRatio || 1;
      const [wide, high] = [canvas.clientWidth, canvas.clientHeight];
      canvas.width = wide * ratio;
      canvas.height = high * ratio;
      const pen = canvas.getContext("2d");
      pen.scale(ratio, ratio);
      const values = this.navSeries.values;
      const kept = pw.thinned(values, 0, values.length - 1, Math.max(20, Math.round(wide / 2)));
      let low = Infinity, high_ = -Infinity;
      for (const row of kept) {
        if (values[row] < low) low = values[row];
        if (values[row] > high_) high_ = values[row];
      }
      const x = (ms) => (wide * (ms - this.first)) / (this.last - this.first);
      const y = (value) => high - 4 - ((high - 8) * (value - low)) / (high_ - low || 1);
      pen.fillStyle = pw.faded(pw.colour("accent"), 0.14);
      pen.fillRect(x(this.view[0]), 0, Math.max(2, x(this.view[1]) - x(this.view[0])), high);
      pen.strokeStyle = pw.colour("quiet");
      pen.beginPath();
      kept.forEach((row, i) => pen[i ? "lineTo" : "moveTo"](x(this.time[row]), y(values[row])));
      pen.stroke();
    }
  };
})();

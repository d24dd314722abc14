// Long tables: sorted by a press on a column's name, filtered by column or by any text; only the
// rows in view are on the page, so that thousands of rows stay smooth.
"use strict";
(() => {
  const pw = globalThis.perpwalk;
  const ROW = 28; // as in the style sheet
  const AROUND = 12;
  const UNITS = [
    [/(_pnl|^fees?$|^funding$|^slippage$|^liquidation$|^payment$|^equity$|^cash$)/, "money"],
    [/price$/, "price"], [/quantity|position/, "quantity"],
    [/(^return$|_return$|drawdown|win_rate|cagr|volatility)(_lo|_hi)?$/, "percent"],
  ];

  // The values of a column: numbers, stamps in milliseconds or texts.
  pw.values = (column) => {
    if (column.kind === "time") return pw.stamps(column);
    if (column.kind === "number") return column.values;
    return column.texts ?? Array.from(column.codes, (code) => (code < 0 ? "" : column.names[code]));
  };

  // The values of a table's column by name; null where it has none.
  pw.column = (packed, name) => {
    const found = packed.columns.find((one) => one.name === name);
    return found ? pw.values(found) : null;
  };

  const unitOf = (name) => (UNITS.find(([pattern]) => pattern.test(name)) ?? [null, "plain"])[1];

  // ">10", "<= 5", "-3..4", "=7" for numbers and dates; anything else is looked for in the text.
  function test(text, column) {
    const wanted = text.trim();
    if (wanted === "") return null;
    const read = (word) => (column.kind === "time"
      ? Date.parse(/\d{4}-\d\d-\d\d \d/.test(word) ? `${word.trim().replace(" ", "T")}Z` : word.trim())
      : Number(word.replaceAll(",", "").replace("%", "")) / (column.unit === "percent" ? 100 : 1));
    if (column.kind !== "text") {
      const span = wanted.match(/^(.+)\.\.(.+)$/);
      if (span) {
        const [low, high] = [read(span[1]), read(span[2])];
        if (low === low && high === high) return (i) => column.data[i] >= low && column.data[i] <= high;
      }
      const compared = wanted.match(/^(<=|>=|<|>|=)\s*(.+)$/);
      const value = compared ? read(compared[2]) : NaN;
      if (value === value) {
        return {
          "<": (i) => column.data[i] < value, ">": (i) => column.data[i] > value,
          "<=": (i) => column.data[i] <= value, ">=": (i) => column.data[i] >= value,
          "=": (i) => column.data[i] === value,
        }[compared[1]];
      }
    }
    const small = wanted.toLowerCase();
    return (i) => column.text(i).toLowerCase().includes(small);
  }

  // A column without a single value tells nothing.
  const filled = (column, at) => at === 0 || Array.prototype.some.call(
    column.data, (value) => value !== "" && value === value);

  pw.Grid = class {
    // `go`: {label, act(row)} puts a button into the first cell of every row.
    constructor(host, packed, { go = null } = {}) {
      this.host = host;
      this.go = go;
      this.title = host.dataset.title;
      this.rows = packed.rows;
      this.columns = packed.columns.map((column) => this.prepare(column)).filter(filled);
      this.filters = new Map();
      this.anywhere = null;
      this.order = null;
      if (this.rows === 0) {
        host.append(pw.make("p", { class: "empty" }, "Nothing to show."));
        return;
      }
      this.build();
      this.choose();
    }

    prepare(packed) {
      const column = {
        name: packed.name, kind: packed.kind, data: pw.values(packed), unit: unitOf(packed.name),
        label: packed.name.replaceAll("_", " "), choices: packed.names ?? null,
      };
      column.text = column.kind === "time" ? (i) => pw.stamp(column.data[i])
        : column.kind === "number" ? (i) => pw.form(column.data[i], column.unit)
          : (i) => column.data[i];
      return column;
    }

    build() {
      this.count = pw.make("span", { class: "count", role: "status" });
      const search = pw.make("input", {
        type: "search", placeholder: "find in all columns", "aria-label": `${this.title}: find`,
        oninput: (event) => {
          const small = event.target.value.trim().toLowerCase();
          this.anywhere = small === "" ? null
            : (i) => this.columns.some((one) => one.text(i).toLowerCase().includes(small));
          this.choose();
        },
      });
      this.host.append(pw.make("div", { class: "tools" }, search,
        pw.button("Clear", () => this.clear(), { "aria-label": `${this.title}: clear filters` }),
        pw.button("CSV", () => this.save(), { "aria-label": `${this.title}: save what is shown as CSV` }),
        this.count));
      this.head = pw.make("tr", { "aria-rowindex": "1" });
      this.columns.forEach((column, at) => this.head.append(this.heading(column, at)));
      this.body = pw.make("tbody");
      const table = pw.make("table", { "aria-label": this.title },
        pw.make("thead", {}, this.head), this.body);
      this.table = table;
      this.scroller = pw.make("div", {
        class: "body", tabindex: "0", role: "region", "aria-label": `${this.title}: rows`,
        onscroll: () => this.draw(),
      }, table);
      this.host.append(this.scroller);
      this.draw = pw.perFrame(() => this.drawNow());
      new ResizeObserver(() => this.draw()).observe(this.scroller);
    }

    heading(column, at) {
      const hint = column.kind === "text" ? "filter" : column.kind === "time" ? ">2024-01-31" : ">0";
      const input = pw.make("input", {
        type: "text", placeholder: hint, "aria-label": `${this.title}: filter ${column.label}`,
        title: "text, or > < = and a..b for numbers and dates",
        oninput: (event) => {
          const found = test(event.target.value, column);
          if (found) this.filters.set(at, found); else this.filters.delete(at);
          this.choose();
        },
      });
      const button = pw.button(column.label, () => this.sort(at));
      column.button = button;
      column.head = pw.make("th", { scope: "col", class: column.kind === "text" ? "text" : null },
        button, input);
      return column.head;
    }

    clear() {
      for (const input of this.host.querySelectorAll("input")) input.value = "";
      this.filters.clear();
      this.anywhere = null;
      this.choose();
    }

    // First press: large first for numbers, small first for texts and stamps; then the other way;
    // the third brings the table's own order back.
    sort(at) {
      const down = this.columns[at].kind === "number";
      if (this.order === null || this.order.at !== at) this.order = { at, down };
      else if (this.order.down === down) this.order = { at, down: !down };
      else this.order = null;
      this.choose();
    }

    choose() {
      const tests = [...this.filters.values(), ...(this.anywhere ? [this.anywhere] : [])];
      this.shown = [];
      for (let i = 0; i < this.rows; i += 1)
        if (tests.every((one) => one(i))) this.shown.push(i);
      this.columns.forEach((column) => {
        column.head.removeAttribute("aria-sort");
        column.button.textContent = column.label;
      });
      if (this.order !== null) this.arrange();
      this.count.textContent = this.shown.length === this.rows
        ? `${pw.form(this.rows, "count")} rows`
        : `${pw.form(this.shown.length, "count")} of ${pw.form(this.rows, "count")} rows`;
      this.table.setAttribute("aria-rowcount", String(this.shown.length + 1));
      this.scroller.scrollTop = 0;
      this.drawn = null;
      this.draw();
    }

    arrange() {
      const { at, down } = this.order;
      const column = this.columns[at];
      const sign = down ? -1 : 1;
      const { data } = column;
      // Undefined values last, whichever way.
      this.shown.sort(column.kind === "text"
        ? (a, b) => sign * data[a].localeCompare(data[b])
        : (a, b) => {
          if (data[a] !== data[a] || data[b] !== data[b])
            return Number(data[a] !== data[a]) - Number(data[b] !== data[b]);
          return sign * (data[a] - data[b]);
        });
      column.head.setAttribute("aria-sort", down ? "descending" : "ascending");
      column.button.textContent = `${column.label} ${down ? "▼" : "▲"}`;
    }

    drawNow() {
      const seen = Math.ceil(this.scroller.clientHeight / ROW);
      if (seen === 0) return; // inside something closed
      const first = Math.max(0, Math.floor(this.scroller.scrollTop / ROW) - AROUND);
      const last = Math.min(this.shown.length, first + seen + 2 * AROUND);
      const mark = `${first}-${last}`;
      if (this.drawn === mark) return;
      this.drawn = mark;
      const spacer = (count) => pw.make("tr", { class: "spacer", "aria-hidden": "true" },
        pw.make("td", { colspan: this.columns.length, style: `height:${count * ROW}px` }));
      this.body.replaceChildren(
        ...(first > 0 ? [spacer(first)] : []),
        ...this.shown.slice(first, last).map((row, k) => this.line(row, first + k)),
        ...(last < this.shown.length ? [spacer(this.shown.length - last)] : []),
      );
    }

    line(row, at) {
      const cells = this.columns.map((column, k) => {
        const text = column.text(row);
        const below = column.unit === "money" || column.unit === "percent" ? column.data[row] < 0 : false;
        const kind = [column.kind === "text" ? "text" : "", below ? "below" : ""].join(" ").trim();
        const inside = k === 0 && this.go
          ? pw.button(text, () => this.go.act(row), {
            class: "go", "aria-label": `${this.go.label} ${text}` })
          : text;
        return pw.make("td", { class: kind || null, title: text.length > 24 ? text : null }, inside);
      });
      return pw.make("tr", { "aria-rowindex": String(at + 2) }, ...cells);
    }

    save() {
      const quoted = (text) => (/[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
      // A text that starts like a formula would be run by a spreadsheet.
      const safe = (text) => quoted(/^[=+\-@]/.test(text) ? `'${text}` : text);
      const cell = (column, i) => (column.kind === "number"
        ? (column.data[i] === column.data[i] ? String(column.data[i]) : "")
        : column.kind === "time"
          ? (column.data[i] === column.data[i] ? new Date(column.data[i]).toISOString() : "")
          : safe(column.data[i]));
      const lines = [this.columns.map((one) => quoted(one.name)).join(",")];
      for (const i of this.shown) lines.push(this.columns.map((one) => cell(one, i)).join(","));
      pw.download(`${this.title}.csv`, `${lines.join("\n")}\n`, "text/csv");
    }
  };

  pw.grids = (packed, special = {}) => {
    const found = {};
    for (const host of document.querySelectorAll("[data-grid]")) {
      const name = host.dataset.grid;
      found[name] = new pw.Grid(host, packed[name], special[name] ?? {});
    }
    return found;
  };
})();

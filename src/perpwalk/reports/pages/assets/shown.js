// Cards, tables and heat maps from what the page carries: as the templates write them.
"use strict";
(() => {
  const pw = globalThis.perpwalk;
  const SVG = "http://www.w3.org/2000/svg";

  function whisker({ low, high, value, naive }) {
    const element = (tag, attributes) => {
      const found = document.createElementNS(SVG, tag);
      for (const [name, text] of Object.entries(attributes)) found.setAttribute(name, text);
      return found;
    };
    const picture = element("svg", {
      class: "whisker", viewBox: "0 0 100 10", preserveAspectRatio: "none", "aria-hidden": "true",
    });
    const line = (kind, x1, x2, y1, y2) =>
      picture.append(element("line", { class: kind, x1, x2, y1, y2 }));
    line("span", low, high, 5, 5);
    if (naive !== null) line("naive", naive, naive, 0, 10);
    line("at", value, value, 1.5, 8.5);
    return picture;
  }

  pw.card = (one) => pw.make("div", { class: "card" },
    pw.make("div", { class: "name" }, one.name),
    pw.make("div", { class: "figure" }, one.value),
    one.whisker && whisker(one.whisker),
    ...[one.bounds, one.small].filter(Boolean).map((text) => pw.make("div", { class: "small" }, text)));

  const framed = (label, table) => pw.make("div", {
    class: "scroll", tabindex: "0", role: "region", "aria-label": label,
  }, table);

  const heading = (name, isText) =>
    pw.make("th", { scope: "col", class: isText ? "text" : null }, name);

  const rowHeading = (text) =>
    pw.make("th", { scope: "row", title: text }, pw.make("span", {}, text));

  pw.empty = (text = "Nothing to show.") => pw.make("p", { class: "empty" }, text);

  pw.table = ({ header, rows, texts }) => {
    if (rows.length === 0) return pw.empty();
    const kind = (k) => (texts.includes(k) ? "text" : null);
    return framed(`${header.find(Boolean)}: table`, pw.make("table", {},
      pw.make("thead", {}, pw.make("tr", {}, ...header.map((name, k) => heading(name, kind(k))))),
      pw.make("tbody", {}, ...rows.map(([first, ...others]) => pw.make("tr", { "data-row": first },
        rowHeading(first),
        ...others.map((text, k) => pw.make("td", { class: kind(k + 1) }, text)))))));
  };

  const heatCell = (cell) => pw.make("td", { class: cell.shade || null, title: cell.told || null },
    cell.text,
    cell.apart ? pw.make("span", {
      class: "apart", role: "img", "aria-label": "naive lies outside the interval",
    }, "◆") : null,
    cell.bounds ? pw.make("small", {}, cell.bounds) : null);

  pw.heat = ({ name, header, rows }, first) => framed(`${name}: heat map`,
    pw.make("table", { class: first === "year" ? "heat calendar" : "heat" },
      pw.make("thead", {}, pw.make("tr", {}, heading(first, true),
        ...header.map((text) => heading(text, false)))),
      pw.make("tbody", {}, ...rows.map(([label, cells]) => pw.make("tr", {
        "data-row": label, class: label === "all" ? "whole" : null,
      }, rowHeading(label), ...cells.map(heatCell))))));
})();

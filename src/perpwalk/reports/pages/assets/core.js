// What all parts of the page share: numbers in words, elements, colours, the theme.
"use strict";
globalThis.perpwalk = {};
(() => {
  const UNDEFINED = "—";
  const pw = globalThis.perpwalk;

  // ── numbers in words ──────────────────────────────────────────────────────
  const fixed = (digits) =>
    new Intl.NumberFormat("en-US", { minimumFractionDigits: digits, maximumFractionDigits: digits });
  const PLACES = [0, 1, 2, 3, 4, 5, 6].map(fixed);
  const short = new Intl.NumberFormat("en-US", { maximumSignificantDigits: 6 });

  const FORMS = {
    money: (v) => PLACES[2].format(v),
    price: (v) => (Math.abs(v) >= 1000 ? PLACES[2].format(v) : short.format(v)),
    quantity: (v) => short.format(v),
    percent: (v) => `${PLACES[2].format(100 * v)} %`,
    ratio: (v) => PLACES[4].format(v),
    decimal: (v) => PLACES[3].format(v),
    count: (v) => PLACES[0].format(v),
    plain: (v) => (Number.isInteger(v) ? PLACES[0].format(v) : short.format(v)),
  };

  pw.form = (value, unit = "plain") =>
    value === null || value === undefined || Number.isNaN(value) ? UNDEFINED
      : FORMS[unit](Object.is(value, -0) ? 0 : value);

  pw.stamp = (ms, withTime = true) => {
    if (Number.isNaN(ms)) return UNDEFINED;
    const text = new Date(ms).toISOString();
    return withTime ? `${text.slice(0, 10)} ${text.slice(11, 16)}` : text.slice(0, 10);
  };

  // Plotly reads a little HTML in labels: a name that looks like it stays a name.
  pw.label = (text) =>
    String(text).replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");

  pw.bounds = (lo, hi, unit) =>
    lo === null || hi === null || Number.isNaN(lo) || Number.isNaN(hi) ? ""
      : ` [${pw.form(lo, unit)} to ${pw.form(hi, unit)}]`;

  // ── elements ──────────────────────────────────────────────────────────────
  // make("button", {type: "button", onclick}, "text", child, …): text is always text, never HTML.
  pw.make = (tag, attributes = {}, ...children) => {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
      else if (value === true) element.setAttribute(name, "");
      else if (value !== false && value !== null && value !== undefined)
        element.setAttribute(name, value);
    }
    element.append(...children.filter((child) => child !== null && child !== undefined));
    return element;
  };

  pw.button = (text, onclick, attributes = {}) =>
    pw.make("button", { type: "button", onclick, ...attributes }, text);

  pw.select = (label, names, onchange) => {
    const list = pw.make("select", { onchange: (event) => onchange(event.target.value) });
    for (const [value, text] of names) list.append(pw.make("option", { value }, text));
    return pw.make("label", {}, `${label} `, list);
  };

  pw.byId = (id) => document.getElementById(id);

  pw.download = (name, content, type) => {
    const url = URL.createObjectURL(new Blob([content], { type }));
    pw.make("a", { href: url, download: name }).click();
    setTimeout(() => URL.revokeObjectURL(url), 1000);
  };

  // At most once per frame, with the latest arguments.
  pw.perFrame = (work) => {
    let latest = null;
    return (...given) => {
      const waiting = latest !== null;
      latest = given;
      if (!waiting) {
        requestAnimationFrame(() => {
          const call = latest;
          latest = null;
          work(...call);
        });
      }
    };
  };

  // ── colours and theme ─────────────────────────────────────────────────────
  let probe = null;
  pw.colour = (name) => {
    if (!probe) {
      probe = pw.make("span", { hidden: true });
      document.body.append(probe);
    }
    probe.style.color = `var(--${name})`;
    return getComputedStyle(probe).color;
  };
  pw.faded = (colour, share) => colour.replace(/^rgb\((.*)\)$/, `rgba($1, ${share})`);

  const listeners = [];
  pw.onTheme = (work) => listeners.push(work);
  const themed = () => listeners.forEach((work) => work());
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", themed);

  const THEMES = [
    ["", "◐", "follows the system"], ["light", "☀", "light"], ["dark", "☾", "dark"],
  ];
  pw.startTheme = () => {
    const button = pw.byId("theme");
    let at = 0;
    button.addEventListener("click", () => {
      // From "as the system" the first press shows the other theme: a press always shows something.
      const dark = matchMedia("(prefers-color-scheme: dark)").matches;
      const order = dark ? [0, 1, 2] : [0, 2, 1];
      at = (at + 1) % order.length;
      const [name, sign, words] = THEMES[order[at]];
      if (name) document.documentElement.dataset.theme = name;
      else delete document.documentElement.dataset.theme;
      button.textContent = sign;
      button.setAttribute("aria-label", `Colour theme: ${words}`);
      themed();
    });
  };

  // ── switched views: of a group of buttons one is pressed, and its part is shown ────────────────
  pw.startTabs = () => {
    for (const group of document.querySelectorAll(".switched")) {
      const buttons = [...group.querySelectorAll(":scope > .tabs button")];
      const parts = [...group.querySelectorAll(":scope > .shown")];
      const show = (chosen) => {
        parts.forEach((part, i) => { part.hidden = i !== chosen; });
        buttons.forEach((one, i) => one.setAttribute("aria-pressed", String(i === chosen)));
      };
      buttons.forEach((one, i) => one.addEventListener("click", () => show(i)));
      if (buttons.length) show(0);
    }
  };
})();

// Unpack what the page carries: the plotting library and the data (perpwalk's `Pack`).
"use strict";
(() => {
  const ARRAYS = { f4: Float32Array, f8: Float64Array, i4: Int32Array, u1: Uint8Array };

  async function inflate(id) {
    const text = document.getElementById(id).textContent.trim();
    const packed = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
    const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
    return new Response(stream).arrayBuffer();
  }

  perpwalk.loadData = async () => {
    const buffer = await inflate("data");
    const length = new DataView(buffer).getUint32(0, true);
    const head = new TextDecoder().decode(new Uint8Array(buffer, 4, length));
    return revive(JSON.parse(head), buffer, 4 + length);
  };

  // plotly.js runs as a script of its own, which the page's policy allows by its hash.
  perpwalk.loadLibrary = async () => {
    const script = document.createElement("script");
    script.textContent = new TextDecoder().decode(await inflate("library"));
    document.head.append(script);
    if (!window.Plotly) throw new Error("the plotting library did not start");
  };

  // Replace {at, n, as} by the array that lies there, and descriptions of stamps by stamps.
  function revive(value, buffer, base) {
    if (Array.isArray(value)) return value.map((inner) => revive(inner, buffer, base));
    if (value === null || typeof value !== "object") return value;
    if ("at" in value && "as" in value) {
      return new ARRAYS[value.as](buffer, base + value.at, value.n);
    }
    const found = {};
    for (const [key, inner] of Object.entries(value)) found[key] = revive(inner, buffer, base);
    return found;
  }

  // Stamps in milliseconds, from an even step, from distances, or as they are.
  perpwalk.stamps = (packed) => {
    if (packed.all) return packed.all;
    const count = packed.steps ? packed.steps.length + 1 : packed.n;
    const found = new Float64Array(count);
    let at = packed.first;
    for (let i = 0; i < count; i += 1) {
      found[i] = at;
      at += packed.steps ? packed.steps[i] : packed.step;
    }
    return found;
  };
})();

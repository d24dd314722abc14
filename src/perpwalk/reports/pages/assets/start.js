// Start: theme and switches at once, then what needs the data and the library.
"use strict";
(async () => {
  const pw = globalThis.perpwalk;
  pw.startTheme();
  pw.startTabs();
  try {
    const [data] = await Promise.all([pw.loadData(), pw.loadLibrary()]);
    (data.kind === "run" ? pw.startRun : pw.startComparison)(data);
    document.documentElement.dataset.ready = "yes";
  } catch (error) {
    const trouble = pw.byId("trouble");
    trouble.hidden = false;
    trouble.textContent = `The charts cannot be drawn: ${error.message}. A browser of 2023 or later `
      + "can; verdict, findings and tables of figures stand here all the same.";
    console.error(error);
  }
})();

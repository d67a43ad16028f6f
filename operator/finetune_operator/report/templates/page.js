"use strict";
(() => {
  const { specs, data } = JSON.parse(document.getElementById("data").textContent);
  const quiet = { stroke: null };
  // Named in full, since room for labels is measured outside of the page's own style.
  const font = getComputedStyle(document.body).fontFamily;
  // currentColor follows the page from light to dark and onto paper without drawing anew.
  const config = {
    background: null, font, view: quiet, mark: { tooltip: null },
    axis: { labelColor: "currentColor", titleColor: "currentColor", tickColor: "currentColor",
      domainColor: "currentColor", gridColor: "currentColor", gridOpacity: 0.13, domainOpacity: 0.5,
      tickOpacity: 0.5, labelFontSize: 11, titleFontSize: 12, titleFontWeight: 500 },
    legend: { labelColor: "currentColor", titleColor: "currentColor", labelFontSize: 11, titleFontSize: 11 },
  };
  const options = {
    mode: "vega-lite", renderer: "svg", ast: true, config, defaultStyle: false,
    actions: { export: true, source: false, compiled: false, editor: false },
    tooltip: { theme: "custom", disableDefaultStyle: true },
  };
  const drawn = [...document.querySelectorAll("[data-plot]")].map((place) => {
    const spec = specs[place.dataset.plot];
    return vegaEmbed(place, { ...spec, datasets: { ...spec.datasets, ...data } }, options);
  });
  Promise.all(drawn).then(
    () => { document.body.dataset.drawn = String(drawn.length); },
    (error) => { document.body.dataset.drawn = "failed"; throw error; },
  );

  const table = document.getElementById("all");
  const body = table.tBodies[0];
  const rows = [...body.rows];
  const texts = rows.map((row) => `${row.textContent} ${row.cells[0].title}`.toLowerCase());
  const filter = document.getElementById("filter");
  const phase = document.getElementById("phase");
  const count = document.getElementById("count");

  const narrow = () => {
    const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    rows.forEach((row, place) => {
      const fits = (!phase.value || row.dataset.phase === phase.value)
        && words.every((word) => texts[place].includes(word));
      row.hidden = !fits;
      shown += fits;
    });
    count.textContent = `${shown} of ${rows.length} shown`;
  };
  filter.addEventListener("input", narrow);
  phase.addEventListener("change", narrow);
  narrow();

  const valueOf = (cell, kind) => {
    const text = cell.dataset.value ?? cell.textContent;
    const number = Number(text);
    return kind === "number" && text !== "" && !Number.isNaN(number) ? number : text;
  };
  const compare = (a, b) => {
    if (typeof a === "number" && typeof b === "number") return a - b;
    return String(a).localeCompare(String(b), undefined, { numeric: true });
  };
  const sort = (head) => {
    const down = head.getAttribute("aria-sort") === "ascending";
    const keyed = rows.map((row) => [valueOf(row.cells[head.cellIndex], head.dataset.sort), row]);
    // What has no value stays last, whichever way the others go.
    keyed.sort(([a], [b]) => (a === "") - (b === "") || (down ? compare(b, a) : compare(a, b)));
    for (const each of table.tHead.rows[0].cells) each.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    body.append(...keyed.map(([, row]) => row));
  };
  for (const head of table.tHead.rows[0].cells) {
    head.tabIndex = 0;
    head.addEventListener("click", () => sort(head));
    head.addEventListener("keydown", (event) => { if (event.key === "Enter") sort(head); });
  }

  const manifest = document.getElementById("manifest");
  const copied = document.getElementById("copied");
  document.getElementById("copy").addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(manifest.textContent);
      copied.textContent = "copied";
    } catch {
      getSelection().selectAllChildren(manifest);
      copied.textContent = "selected: press Ctrl-C";
    }
  });
})();

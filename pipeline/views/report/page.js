// Sorting and filtering of the rules, and what a point of the training curve stands for. The page reads without it.
"use strict";
(() => {
  const list = document.querySelector(".rules");
  if (list) {
    const controls = document.querySelector("#rules .controls");
    const rows = [...list.children];
    const buttons = [...controls.querySelectorAll("button")];
    controls.hidden = false;
    controls.addEventListener("click", (event) => {
      const by = event.target.dataset.by;
      if (!by) return;
      const sign = by === "place" ? 1 : -1;
      const order = (a, b) => sign * (a.dataset[by] - b.dataset[by]) || a.dataset.place - b.dataset.place;
      list.append(...rows.sort(order));
      for (const button of buttons) button.setAttribute("aria-pressed", button.dataset.by === by);
    });
    controls.querySelector("input").addEventListener("input", (event) => {
      const words = event.target.value.toLowerCase().split(/\s+/);
      for (const row of rows) row.hidden = !words.every((word) => row.dataset.text.includes(word));
    });
  }
  for (const figure of document.querySelectorAll(".curves")) {
    const points = JSON.parse(figure.dataset.points);
    const output = figure.querySelector("output");
    const three = (value) => (value === null ? "–" : value.toPrecision(4));
    for (const chart of figure.querySelectorAll(".chart")) {
      const { left, across, span } = chart.dataset;
      const cursor = chart.querySelector(".cursor");
      chart.addEventListener("pointermove", (event) => {
        const box = chart.getBoundingClientRect();
        const x = ((event.clientX - box.left) * chart.viewBox.baseVal.width) / box.width;
        const tokens = ((x - left) / across) * span;
        const near = points.reduce((a, b) => (Math.abs(b[0] - tokens) < Math.abs(a[0] - tokens) ? b : a));
        const at = +left + (near[0] / span) * across;
        cursor.setAttribute("x1", at);
        cursor.setAttribute("x2", at);
        cursor.removeAttribute("hidden");
        output.textContent =
          `${near[0].toLocaleString("en")} tokens: loss ${three(near[1])} · learning rate ${near[2]} · ` +
          `gradient norm ${three(near[3])} · ${near[4].toLocaleString("en")} tokens/s`;
      });
      chart.addEventListener("pointerleave", () => {
        cursor.setAttribute("hidden", "");
        output.textContent = "";
      });
    }
  }
})();

// The distributions: a histogram in each card for the chosen group, its limits, and what they cut off.
"use strict";
(() => {
  const box = document.querySelector(".signals");
  if (!box) return;
  const { groups, signals } = JSON.parse(box.dataset.signals);
  const controls = document.querySelector(".choice");
  const select = controls.querySelector("select");
  const buttons = [...controls.querySelectorAll("button")];
  const cards = [...box.querySelectorAll(".signal")];
  const SVG = "http://www.w3.org/2000/svg";
  const TALL = 76;
  let chosen = 0;

  const whole = (value) => Math.round(value).toLocaleString("en");
  const share = (part, all) => {
    if (!all) return "–";
    const value = (100 * part) / all;
    return value > 0 && value < 0.05 ? "< 0.1 %" : `${value.toFixed(1)} %`;
  };
  const number = (value) => (value >= 1000 ? whole(value) : String(+value.toPrecision(4)));
  const make = (name, attributes, text) => {
    const node = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
    if (text !== undefined) node.textContent = text;
    return node;
  };

  const draw = (card) => {
    const plot = card.querySelector(".plot");
    const width = plot.clientWidth;
    if (!width) return; // in a closed fold
    const signal = signals[card.dataset.signal];
    const counts = signal.counts[chosen];
    const sum = counts.reduce((a, b) => a + b, 0);
    const lost = signal.lost[chosen];
    const cuts = signal.limits.filter((limit) => limit.of[chosen][0] > 0);
    const sorted = [...counts].sort((a, b) => b - a);
    const clipped = sorted[0] > 2.5 * sorted[1] && sorted[1] > 0;
    const top = clipped ? 1.3 * sorted[1] : sorted[0] || 1;
    const svg = make("svg", { width, height: TALL + 32, viewBox: `0 0 ${width} ${TALL + 32}`, role: "img" });
    svg.setAttribute("aria-label", `${signal.name}, ${groups[chosen].name}: ${whole(sum)} documents`);
    const base = TALL + 14;
    const labels = []; // above the limits' lines
    counts.forEach((n, i) => {
      const x = signal.at[i] * width;
      const next = signal.at[i + 1] * width;
      const height = n ? Math.max(1, TALL * Math.min(1, n / top)) : 0;
      const gone = (height * (lost[i] ?? 0)) / (n || 1);
      const bar = { x, width: Math.max(0.5, next - x - (next - x > 4 ? 1 : 0)) };
      if (height > gone) svg.append(make("rect", { ...bar, y: base - height + gone, height: height - gone, class: "kept" }));
      if (gone) svg.append(make("rect", { ...bar, y: base - height, height: gone, class: "lost" }));
      if (clipped && n > top) {
        const y = base - TALL + 12;
        svg.append(make("path", { d: `M${x - 1} ${y + 3}L${next + 1} ${y - 3}`, class: "break" }));
        const end = x > width / 2;
        const at = { x: end ? x - 4 : next + 4, y: base - TALL + 8, class: "figure", "text-anchor": end ? "end" : "start" };
        labels.push(make("text", at, share(n, sum)));
      }
    });
    if (chosen && sum) svg.append(ghost(signal, counts, sum, top, base, width));
    svg.append(make("line", { x1: 0, x2: width, y1: base, y2: base, class: "base" }));
    for (const [at, name] of signal.ticks) {
      const anchor = at < 0.06 ? "start" : at > 0.94 ? "end" : "middle";
      svg.append(make("line", { x1: at * width, x2: at * width, y1: base, y2: base + 3, class: "base" }));
      svg.append(make("text", { x: at * width, y: base + 15, class: "axis", "text-anchor": anchor }, name));
    }
    for (const limit of cuts) {
      for (const at of [limit.min, limit.max]) {
        if (at !== null) svg.append(make("line", { x1: at * width, x2: at * width, y1: 4, y2: base, class: "limit" }));
      }
    }
    if (!sum) labels.push(make("text", { x: 0, y: base - 10, class: "axis" }, "not measured here"));
    svg.append(...labels);
    const hover = make("rect", { x: 0, y: 0, height: base, width: 0, class: "hover" });
    svg.append(hover);
    plot.replaceChildren(svg);
    svg.addEventListener("pointermove", (event) => {
      const at = (event.clientX - svg.getBoundingClientRect().left) / width;
      const i = Math.min(counts.length - 1, Math.max(0, signal.at.findLastIndex((edge) => edge <= at)));
      hover.setAttribute("x", signal.at[i] * width);
      hover.setAttribute("width", (signal.at[i + 1] - signal.at[i]) * width);
      const [from, to] = [number(signal.edges[i]), number(signal.edges[i + 1])];
      const range = i === 0 ? `below ${to}` : i === counts.length - 1 ? `${from} and above` : `${from} to ${to}`;
      const cut = lost[i] ? `, ${whole(lost[i])} cut off` : "";
      say(card, `${range}: ${whole(counts[i])} (${share(counts[i], sum)})${cut}`);
    });
    svg.addEventListener("pointerleave", () => {
      hover.setAttribute("width", 0);
      say(card, "");
    });
  };

  // the outline of all documents behind a group's columns, scaled to as many documents
  const ghost = (signal, counts, sum, top, base, width) => {
    const all = signal.counts[0];
    const total = all.reduce((a, b) => a + b, 0) || 1;
    let path = `M0 ${base}`;
    all.forEach((n, i) => {
      const y = base - TALL * Math.min(1, (n / total) * (sum / top));
      path += `L${signal.at[i] * width} ${y}L${signal.at[i + 1] * width} ${y}`;
    });
    return make("path", { d: path, class: "ghost" });
  };

  const say = (card, words) => {
    const unit = card.querySelector("figcaption span");
    unit.dataset.unit ??= unit.textContent;
    unit.textContent = words || unit.dataset.unit;
  };

  const figures = (card) => {
    const signal = signals[card.dataset.signal];
    for (const line of card.querySelectorAll(".cut")) {
      const limit = signal.limits[line.dataset.limit];
      const [asked, below, above] = limit.of[chosen];
      const parts = [];
      if (limit.min !== null) parts.push(`${share(below, asked)} below`);
      if (limit.max !== null) parts.push(`${share(above, asked)} above`);
      line.classList.toggle("idle", !asked);
      line.querySelector(".out").textContent = (asked ? parts.join(", ") : "not applied").replace(/ (?=%|below|above)/g, "\u00a0");
    }
  };

  const show = (group) => {
    chosen = group;
    for (const button of buttons) button.setAttribute("aria-pressed", button.dataset.group === String(group));
    if (select && select.value !== String(group)) select.value = "";
    const { name, domain, documents } = groups[group];
    controls.querySelector("output").textContent =
      `${whole(documents)} ${documents === 1 ? "document" : "documents"}` + (group ? "; the line: all documents" : "");
    for (const card of cards) {
      figures(card);
      draw(card);
    }
  };

  controls.hidden = false;
  controls.addEventListener("click", (event) => {
    if (event.target.dataset.group) show(+event.target.dataset.group);
  });
  select?.addEventListener("change", () => show(+select.value));
  for (const fold of box.querySelectorAll("details")) fold.addEventListener("toggle", () => show(chosen));
  let last = 0;
  new ResizeObserver(() => {
    if (box.clientWidth !== last) show(chosen);
    last = box.clientWidth;
  }).observe(box);
  show(0);
})();

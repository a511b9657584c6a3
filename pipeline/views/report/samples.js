// The search over the samples: words in text, rule, path and id, and the chosen rule, language and source.
"use strict";
(() => {
  const controls = document.querySelector(".search");
  if (!controls) return;
  const input = controls.querySelector("input");
  const selects = [...controls.querySelectorAll("select")];
  const output = controls.querySelector("output");
  const groups = [...controls.closest("section").querySelectorAll(".group")].map((node) => ({
    node,
    rows: [...node.querySelectorAll(".found")].map((row) => ({ node: row, text: "" })),
    count: node.querySelector(".n"),
    of: node.querySelector(".n").textContent,
  }));
  const all = groups.reduce((sum, group) => sum + group.rows.length, 0);
  let ready = false;

  const search = () => {
    const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    const wanted = Object.fromEntries(selects.map((select) => [select.dataset.key, select.value]));
    const asked = words.length || Object.values(wanted).some(Boolean);
    if (!ready) {
      for (const { node, rows } of groups) {
        for (const row of rows) row.text = `${node.dataset.rule} ${row.node.textContent}`.toLowerCase();
      }
      ready = true;
    }
    let found = 0;
    for (const { node, rows, count, of } of groups) {
      let here = 0;
      for (const row of rows) {
        const { language, source } = row.node.dataset;
        const stays =
          (!wanted.rule || wanted.rule === node.dataset.rule) &&
          (!wanted.language || wanted.language === language) &&
          (!wanted.source || wanted.source === source) &&
          words.every((word) => row.text.includes(word));
        row.node.hidden = !stays;
        here += stays;
      }
      found += here;
      node.hidden = !here;
      node.open = Boolean(asked && here);
      count.textContent = asked ? `${here} found` : of;
    }
    output.textContent = asked ? `${found} of ${all}` : "";
  };

  controls.hidden = false;
  controls.addEventListener("input", search);
})();

"use strict";
/* Tables sort by a click on a heading, long ones are folded, and on a phone a table that is wider than the page becomes a
   card a row, every cell with its heading. Without a script all rows are there. */
(() => {
  const KEPT = 12;
  const words = new Intl.Collator("en", { numeric: true });
  const number = (text) => {
    const value = parseFloat(text.trim().replace("\u2212", "-").replace(/^< ?/, ""));
    return Number.isNaN(value) ? null : value;
  };
  const tables = [...document.querySelectorAll("table")], phone = matchMedia("(max-width:40rem)");
  const fit = () => {
    for (const table of tables) table.classList.remove("cards");
    const wide = tables.filter((one) => phone.matches && one.tHead && one.offsetWidth > one.parentElement.clientWidth);
    for (const table of wide) {
      const heads = [...table.tHead.rows[0].cells].map((one) => one.textContent.trim());
      for (const row of table.querySelectorAll("tbody tr")) {
        [...row.cells].forEach((cell, place) => { if (heads[place]) cell.dataset.label = heads[place]; });
      }
      table.classList.add("cards");
    }
  };
  for (const table of tables) {
    const body = table.tBodies[0];
    if (!table.tHead || !body || body.rows.length < 2) continue;
    if (body.rows.length > KEPT + 3) {
      const hidden = [...body.rows].slice(KEPT);
      const more = document.createElement("button");
      const fold = (folded) => {
        [...body.rows].forEach((row, place) => { row.hidden = folded && place >= KEPT; });
        more.setAttribute("aria-expanded", String(!folded));
        more.textContent = folded ? `Show ${hidden.length} more rows` : "Show fewer rows";
      };
      more.className = "more";
      more.type = "button";
      more.addEventListener("click", () => fold(more.getAttribute("aria-expanded") === "true"));
      (table.closest(".scroll") ?? table).after(more);
      table.refold = () => fold(more.getAttribute("aria-expanded") !== "true");
      fold(true);
    }
    if ([...body.rows].some((row) => [...row.cells].some((cell) => cell.colSpan > 1 || cell.rowSpan > 1))) continue;
    [...table.tHead.rows[0].cells].forEach((head, column) => {
      if (!head.textContent.trim()) return;
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => {
        const down = head.getAttribute("aria-sort") === "ascending";
        for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
        head.setAttribute("aria-sort", down ? "descending" : "ascending");
        const numeric = head.classList.contains("n");
        const rows = [...body.rows].map((row) => {
          const text = row.cells[column]?.textContent ?? "";
          return { row, key: numeric ? number(text) : text };
        });
        rows.sort((a, b) => {
          if (a.key === null || b.key === null) return (a.key === null) - (b.key === null); /* no number: last */
          return (down ? -1 : 1) * (numeric ? a.key - b.key : words.compare(a.key, b.key));
        });
        body.append(...rows.map((one) => one.row));
        table.refold?.();
      });
    });
  }
  fit();
  for (const details of document.querySelectorAll("details")) details.addEventListener("toggle", fit);
  phone.addEventListener("change", fit);
})();

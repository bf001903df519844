// A click (or Enter, or Space) on a heading sorts its table: upwards, downwards, and back to how it was.
"use strict";
const text = (cell) => (cell ? cell.textContent.trim() : "");
const number = (cell) => {
  const match = text(cell).replace(/,/g, "").match(/-?\d+(\.\d+)?(e[-+]?\d+)?/i);
  return match ? Number(match[0]) : NaN;
};
const words = new Intl.Collator("en", { numeric: true });

// Where each heading's column begins, by the cells that headings above it take up.
const columns = (head) => {
  const taken = [];
  const places = new Map();
  [...head.rows].forEach((row, line) => {
    let column = 0;
    for (const cell of row.cells) {
      while ((taken[line] ||= [])[column]) column += 1;
      places.set(cell, column);
      for (let down = 0; down < cell.rowSpan; down += 1) {
        for (let right = 0; right < cell.colSpan; right += 1) (taken[line + down] ||= [])[column + right] = true;
      }
      column += cell.colSpan;
    }
  });
  return places;
};

// The cell of a row in a column; none where cells are merged.
const cellOf = (row, column) => ([...row.cells].some((cell) => cell.colSpan > 1) && column > 0 ? null : row.cells[column]);

const sort = (table, column, numbers, way) => {
  for (const body of table.tBodies) {
    const rows = [...body.rows].filter((row) => !row.classList.contains("total"));
    const key = (row) => (numbers ? number(cellOf(row, column)) : text(cellOf(row, column)));
    const known = (row) => (numbers ? !Number.isNaN(key(row)) : key(row) !== "" && key(row) !== "–");
    rows.sort((one, other) => {
      if (way === 0) return one.dataset.place - other.dataset.place;
      if (known(one) !== known(other)) return known(one) ? -1 : 1; // what is not known comes last either way
      const order = !known(one) ? 0 : numbers ? key(one) - key(other) : words.compare(key(one), key(other));
      return way * order || one.dataset.place - other.dataset.place;
    });
    const rest = [...body.rows].filter((row) => row.classList.contains("total"));
    body.append(...rows, ...rest);
  }
};

for (const table of document.querySelectorAll("table:not(.matrix):not(.as-it-is)")) {
  if (!table.tHead || ![...table.tBodies].some((body) => body.rows.length > 1)) continue;
  for (const body of table.tBodies) [...body.rows].forEach((row, place) => (row.dataset.place = place));
  for (const [heading, column] of columns(table.tHead)) {
    if (heading.colSpan > 1 || heading.tagName !== "TH") continue;
    const button = document.createElement("button");
    button.type = "button";
    button.append(...heading.childNodes);
    heading.append(button);
    button.addEventListener("click", () => {
      const way = { ascending: -1, descending: 0 }[heading.getAttribute("aria-sort")] ?? 1;
      for (const other of table.tHead.querySelectorAll("[aria-sort]")) other.removeAttribute("aria-sort");
      if (way) heading.setAttribute("aria-sort", way > 0 ? "ascending" : "descending");
      sort(table, column, heading.classList.contains("number"), way);
    });
  }
}

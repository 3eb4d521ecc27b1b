// What histograms show, for those who do not see them.

import { count } from "./numbers.js";

// A row for each bin that holds something; filled when it is looked at.
export function tabulate(id, names, counts) {
  const table = document.getElementById(id);
  if (!table) return;
  const details = table.closest("details");
  const columns = [counts.hits, counts.misses].filter(Boolean);
  const fill = () => {
    if (!details.open) return;
    const rows = names.flatMap((name, k) => {
      if (columns.every((column) => !column[k])) return [];
      const row = document.createElement("tr");
      const head = document.createElement("th");
      head.scope = "row";
      head.textContent = name;
      row.append(head);
      for (const column of columns) {
        const cell = row.insertCell();
        cell.className = "number";
        cell.textContent = count(column[k]);
      }
      return [row];
    });
    table.tBodies[0].replaceChildren(...rows);
  };
  details.removeEventListener("toggle", fillers.get(table));
  details.addEventListener("toggle", fill);
  fillers.set(table, fill);
  fill();
}

const fillers = new WeakMap();

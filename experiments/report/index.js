"use strict";
// The table of contents, and a sortable table of runs in each section, made when it is opened.
const contents = document.getElementById("contents");
for (const section of document.querySelectorAll("section")) {
  const link = document.createElement("a");
  link.href = "#" + section.id;
  link.textContent = section.id;
  contents.append(link);
  const details = section.querySelector("details.runs");
  details.addEventListener("toggle", () => fill(details), { once: true });
}

function fill(details) {
  const data = JSON.parse(details.querySelector("script.rows").textContent);
  const table = details.querySelector("table");
  const head = table.createTHead().insertRow();
  const body = table.createTBody();
  const status = data.columns.indexOf("status");
  const isText = data.columns.map((_, column) =>
    data.rows.some((row) => typeof row[column] === "string"));
  data.columns.forEach((name, column) => {
    const cell = document.createElement("th");
    cell.textContent = name;
    cell.className = isText[column] ? "text" : "";
    cell.addEventListener("click", () => sort(column, cell));
    head.append(cell);
  });
  show(data.rows);

  function sort(column, cell) {
    const up = cell.getAttribute("aria-sort") !== "ascending";
    for (const other of head.children) other.removeAttribute("aria-sort");
    cell.setAttribute("aria-sort", up ? "ascending" : "descending");
    const rows = [...data.rows].sort((one, other) => compare(one[column], other[column]));
    show(up ? rows : rows.reverse());
  }

  function show(rows) {
    body.replaceChildren(...rows.map((row) => {
      const line = document.createElement("tr");
      line.className = row[status] === data.ok ? "" : "failed";
      row.forEach((value, column) => {
        const cell = line.insertCell();
        cell.className = isText[column] ? "text" : "";
        if (column === 0) {
          const link = document.createElement("a");
          link.href = `run.html#${data.experiment}/runs/${value}`;
          link.textContent = value;
          cell.append(link);
        } else {
          cell.textContent = value === null ? "" : value;
        }
      });
      return line;
    }));
  }
}

function compare(one, other) {
  if (one === other) return 0;
  if (one === null) return 1;
  if (other === null) return -1;
  if (typeof one === "number" && typeof other === "number") return one - other;
  return String(one).localeCompare(String(other), undefined, { numeric: true });
}

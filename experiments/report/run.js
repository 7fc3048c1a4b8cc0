"use strict";
// One run: run.html#EXPERIMENT/runs/RUN loads that folder's view.js, which calls flowmobRun.
const COLOURS = ["#0072B2", "#E69F00", "#009E73", "#CC79A7"];
const SVG = "http://www.w3.org/2000/svg";
const byId = (id) => document.getElementById(id);

async function flowmobRun(packed) {
  const bytes = Uint8Array.from(atob(packed), (character) => character.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  show(JSON.parse(await new Response(stream).text()));
}

function load() {
  const folder = decodeURIComponent(location.hash.slice(1));
  // Only below this page's own folder.
  if (!/^[\w.-]+\/runs\/[\w.-]+$/.test(folder) || folder.includes("..")) {
    byId("title").textContent = "No run is named: open one from the table of an experiment";
    return;
  }
  byId("title").textContent = folder.replace("/runs/", ": ");
  const script = document.createElement("script");
  script.src = folder + "/view.js";
  script.onerror = () => { byId("title").textContent = `${folder} has no view.js`; };
  document.body.append(script);
}

function show(run) {
  const milliseconds = (ticks) => (ticks * 1000) / run.ticks_per_s;
  byId("about").textContent =
    `seed ${run.seed}, engine ${run.engine}, ${run.duration_s} s of emulated time`;
  drawChart(run, milliseconds);
  listMoves(run);
  timeline(run, milliseconds);
}

function drawChart(run, milliseconds) {
  const svg = byId("chart");
  const left = 90, step = 26, top = 30, gap = 250;
  const places = new Map(run.participants.map((name, number) => [name, left + number * gap]));
  const height = top + step * (run.steps.length + 1);
  const width = left + gap * (run.participants.length - 1) + 90;
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  svg.setAttribute("width", width);
  svg.setAttribute("height", height);
  for (const [name, x] of places) {
    line(svg, x, top - 8, x, height, "#999");
    text(svg, x, top - 14, name, "middle");
  }
  run.steps.forEach(([tick, source, destination, label, lost], number) => {
    const y = top + step * (number + 1);
    const from = places.get(source), to = places.get(destination);
    const end = lost ? (from + to) / 2 : to;
    line(svg, from, y, end, y, lost ? "#D55E00" : "#111");
    const back = Math.sign(from - to) * 6;
    if (lost) {
      text(svg, end, y + 4, "\u00d7", "middle");
    } else {
      line(svg, end, y, end + back, y - 4, "#111");
      line(svg, end, y, end + back, y + 4, "#111");
    }
    text(svg, (from + to) / 2, y - 4, label, "middle");
    text(svg, 0, y + 4, milliseconds(tick).toFixed(1), "start");
  });
}

function line(svg, x1, y1, x2, y2, stroke) {
  const made = document.createElementNS(SVG, "line");
  for (const [name, value] of Object.entries({ x1, y1, x2, y2, stroke })) made.setAttribute(name, value);
  svg.append(made);
}

function text(svg, x, y, content, anchor) {
  const made = document.createElementNS(SVG, "text");
  made.setAttribute("x", x);
  made.setAttribute("y", y);
  made.setAttribute("text-anchor", anchor);
  made.textContent = content;
  svg.append(made);
}

function listMoves(run) {
  const table = byId("table");
  if (!run.moves.length) return;
  const columns = Object.keys(run.moves[0]);
  const head = table.createTHead().insertRow();
  for (const name of columns) {
    const cell = document.createElement("th");
    cell.textContent = name;
    head.append(cell);
  }
  for (const move of run.moves) {
    const row = table.insertRow();
    for (const name of columns) row.insertCell().textContent = move[name] ?? "";
  }
}

function timeline(run, milliseconds) {
  const canvas = byId("packets"), flows = byId("flow"), way = byId("way");
  for (const name of Object.keys(run.flows)) flows.append(new Option(name));
  run.accesses.forEach((name, number) => {
    const key = document.createElement("span");
    key.className = "key";
    key.style.background = COLOURS[number % COLOURS.length];
    byId("legend").append(key, name);
  });
  let from = 0, until = run.duration_s * 1000, packets = [];
  const margin = { left: 50, right: 10, top: 14, bottom: 28 };

  function choose() {
    const chosen = (run.flows[flows.value] ?? {})[way.value] ?? { sent: [], delay: [], access: [] };
    let sent = 0;
    packets = chosen.sent.map((difference, number) => {
      sent += difference;
      const delay = chosen.delay[number];
      return {
        sent: milliseconds(sent),
        delay: delay < 0 ? null : milliseconds(delay),
        access: chosen.access[number],
      };
    });
    draw();
  }

  function zoom(factor, centre = (from + until) / 2) {
    from = centre - (centre - from) * factor;
    until = centre + (until - centre) * factor;
    draw();
  }

  function draw() {
    const scale = window.devicePixelRatio || 1;
    const width = canvas.clientWidth, height = 300;
    canvas.width = width * scale;
    canvas.height = height * scale;
    canvas.style.height = height + "px";
    const pen = canvas.getContext("2d");
    pen.scale(scale, scale);
    pen.clearRect(0, 0, width, height);
    pen.font = "12px system-ui, sans-serif";
    const shown = packets.filter((packet) => packet.sent >= from && packet.sent <= until);
    const highest = Math.max(1, ...shown.map((packet) => packet.delay ?? 0)) * 1.1;
    const x = (time) => margin.left + ((time - from) / (until - from)) * (width - margin.left - margin.right);
    const y = (delay) => height - margin.bottom - (delay / highest) * (height - margin.top - margin.bottom);
    pen.fillStyle = "#444";
    pen.strokeStyle = "#ddd";
    for (const delay of ticks(0, highest, 5)) {
      pen.fillText(delay.toFixed(delay < 10 ? 1 : 0), 4, y(delay) + 4);
      rule(pen, margin.left, y(delay), width - margin.right, y(delay));
    }
    for (const time of ticks(from, until, 7)) {
      pen.fillText((time / 1000).toFixed(3) + " s", x(time) - 18, height - 8);
      rule(pen, x(time), margin.top, x(time), height - margin.bottom);
    }
    pen.fillText("delay (ms)", 4, 11);
    let row = 0;
    for (const [tick, , event] of run.events) {
      const time = milliseconds(tick);
      if (time < from || time > until || event === "order") continue;
      row = (row + 1) % 4;
      pen.strokeStyle = event === "decision" ? "#D55E00" : "#999";
      rule(pen, x(time), margin.top, x(time), height - margin.bottom);
      pen.fillStyle = pen.strokeStyle;
      pen.fillText(event, x(time) + 2, margin.top + 8 + 12 * row);
    }
    for (const packet of shown) {
      pen.fillStyle = COLOURS[packet.access % COLOURS.length] ?? "#777";
      if (packet.delay === null) {
        pen.fillText("\u00d7", x(packet.sent) - 3, height - margin.bottom);
      } else {
        pen.fillRect(x(packet.sent) - 1.5, y(packet.delay) - 1.5, 3, 3);
      }
    }
    byId("where").textContent =
      `${shown.length} packets of flow ${flows.value} between ${(from / 1000).toFixed(3)} s and ${(until / 1000).toFixed(3)} s`;
  }

  function rule(pen, x1, y1, x2, y2) {
    pen.beginPath();
    pen.moveTo(x1, y1);
    pen.lineTo(x2, y2);
    pen.stroke();
  }

  const timeAt = (event) => {
    const box = canvas.getBoundingClientRect();
    const share = (event.clientX - box.left - margin.left) / (box.width - margin.left - margin.right);
    return from + share * (until - from);
  };
  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    zoom(event.deltaY > 0 ? 1.25 : 0.8, timeAt(event));
  }, { passive: false });
  const held = new Map();
  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    held.set(event.pointerId, event.clientX);
  });
  for (const name of ["pointerup", "pointercancel"]) {
    canvas.addEventListener(name, (event) => held.delete(event.pointerId));
  }
  canvas.addEventListener("pointermove", (event) => {
    if (!held.has(event.pointerId)) return;
    const before = [...held.values()];
    held.set(event.pointerId, event.clientX);
    const after = [...held.values()];
    if (after.length === 1) {
      const moved = ((after[0] - before[0]) / canvas.clientWidth) * (until - from);
      from -= moved;
      until -= moved;
      draw();
    } else if (after.length === 2) {
      const apart = (pair) => Math.max(10, Math.abs(pair[0] - pair[1]));
      zoom(apart(before) / apart(after), timeAt(event));
    }
  });
  byId("nearer").addEventListener("click", () => zoom(0.5));
  byId("farther").addEventListener("click", () => zoom(2));
  byId("whole").addEventListener("click", () => { from = 0; until = run.duration_s * 1000; draw(); });
  for (const move of run.moves) {
    const button = document.createElement("button");
    button.textContent = `move ${move.move}: ${move.flow} to ${move.to}`;
    button.addEventListener("click", () => {
      const at = (move.decision_s ?? move.planned_s) * 1000;
      from = at - 200;
      until = at + 600;
      flows.value = move.flow;
      choose();
    });
    byId("moves").append(button, " ");
  }
  flows.addEventListener("change", choose);
  way.addEventListener("change", choose);
  window.addEventListener("resize", draw);
  choose();
}

function ticks(from, until, count) {
  const rough = (until - from) / count;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((size) => size >= rough);
  const found = [];
  for (let value = Math.ceil(from / step) * step; value <= until; value += step) found.push(value);
  return found;
}

window.addEventListener("hashchange", () => location.reload());
load();

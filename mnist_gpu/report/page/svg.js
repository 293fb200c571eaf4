// Charts as SVG: axes, marks and the text that tells about a mark when one points at it.

const SVG = "http://www.w3.org/2000/svg";
const SHAPES = [
  "M-4,0a4,4 0 1 0 8,0a4,4 0 1 0 -8,0Z", "M-4,-4H4V4H-4Z", "M0,-5.5L5.5,0L0,5.5L-5.5,0Z", "M0,-5.5L5,4H-5Z",
  "M0,5.5L5,-4H-5Z", "M-2,-5H2V-2H5V2H2V5H-2V2H-5V-2H-2Z", "M-5,0L-2,-5H2L5,0L2,5H-2Z", "M-5,-3L-3,-5L0,-2L3,-5L5,-3L2,0L5,3L3,5L0,2L-3,5L-5,3L-2,0Z",
];

function svg(tag, attributes = {}, ...children) {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) if (value !== null && value !== undefined) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

/** A number in a few digits, as an axis or a tip writes it. */
function brief(value, digits = 4) {
  return value.toLocaleString("en", { maximumSignificantDigits: digits });
}

/** Ticks at 1, 2 or 5 times a power of ten, about `count` of them, within [low, high]. */
function linearTicks(low, high, count) {
  const rough = (high - low) / count;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((size) => size >= rough * 0.999);
  const first = Math.ceil(low / step - 1e-9);
  return Array.from({ length: Math.floor(high / step + 1e-9) - first + 1 }, (_, index) => Number(((first + index) * step).toPrecision(12)));
}

/** Ticks at 1, 2 and 5 of every decade, at 1 alone over many. */
function logTicks(low, high) {
  const [first, last] = [Math.floor(Math.log10(low)), Math.ceil(Math.log10(high))];
  const steps = last - first > 2 ? [1] : [1, 2, 5];
  const skip = Math.max(1, Math.ceil((last - first) / 8));
  const decades = Array.from({ length: Math.floor((last - first) / skip) + 1 }, (_, index) => first + index * skip);
  const ticks = decades.flatMap((decade) => steps.map((step) => Number((step * 10 ** decade).toPrecision(3))));
  return ticks.filter((tick) => tick >= low && tick <= high);
}

/** A scale from values to pixels; `log` for values above 0. */
function scale(values, pixels, { log = false, zero = false, room = 0.05 } = {}) {
  const on = log ? Math.log : (value) => value;
  let [low, high] = [Infinity, -Infinity];
  for (const value of values) [low, high] = [Math.min(low, value), Math.max(high, value)];
  if (zero) low = Math.min(0, low);
  if (!(high > low)) [low, high] = log ? [low / 2, high * 2] : [low - (zero ? 0 : Math.abs(low) * 0.01 || 1), high + (Math.abs(high) * 0.01 || 1)];
  let [from, to] = [on(low), on(high)];
  const margin = (to - from) * room;
  [from, to] = [zero && low === 0 ? from : from - margin, to + margin];
  const place = (value) => pixels[0] + ((on(value) - from) / (to - from)) * (pixels[1] - pixels[0]);
  const back = log ? Math.exp : (value) => value;
  const count = Math.max(2, Math.abs(pixels[1] - pixels[0]) / (log ? 60 : 75));
  place.ticks = log ? logTicks(back(from), back(to)) : linearTicks(from, to, count);
  return place;
}

/** A chart's paper: its SVG and the box inside its axes; what was there before goes. */
function paper(id, height, left) {
  const place = byId(id);
  place.hidden = false;
  const width = Math.max(240, place.clientWidth);
  const drawing = svg("svg", { width, height, viewBox: `0 0 ${width} ${height}`, role: "none" });
  place.replaceChildren(drawing);
  return { drawing, width, height, left, right: width - 16, top: 12, bottom: height - 44 };
}

function emptyChart(id, text) {
  byId(id).replaceChildren(element("p", { class: "note" }, text));
}

/** The axis below, with lines across the chart; a number that would lie on the one before is left out. */
function xAxis(chart, place, title) {
  let free = 0;
  for (const tick of place.ticks) {
    const x = place(tick);
    const number = svg("text", { x, y: chart.bottom + 16, "text-anchor": "middle" }, brief(tick));
    chart.drawing.append(svg("line", { class: "grid", x1: x, x2: x, y1: chart.top, y2: chart.bottom }), number);
    const half = number.getComputedTextLength() / 2;
    if (x - half < free || x + half > chart.width) number.remove();
    else free = x + half + 6;
  }
  chart.drawing.append(svg("text", { class: "title", x: (chart.left + chart.right) / 2, y: chart.bottom + 36, "text-anchor": "middle" }, title));
}

/** The axis at the left, its title above it. */
function yAxis(chart, place, title) {
  for (const tick of place.ticks) {
    const y = place(tick);
    chart.drawing.append(
      svg("line", { class: "grid", x1: chart.left, x2: chart.right, y1: y, y2: y }),
      svg("text", { x: chart.left - 6, y: y + 4, "text-anchor": "end" }, brief(tick, 6)),
    );
  }
  chart.drawing.append(svg("text", { class: "title", x: 0, y: 12 }, title));
}

/** Rows from top to bottom, named at the left: [chart, the middle of a row]. */
function rowsChart(id, rows) {
  const narrow = isNarrow();
  const [step, left] = narrow ? [40, 128] : [30, Math.min(380, byId(id).clientWidth * 0.4)];
  const chart = paper(id, rows.length * step + 60, left);
  const middle = (index) => chart.top + (index + 0.5) * step;
  rows.forEach((row, index) => {
    const lines = narrow ? [row.label, row.trained] : [`${row.label}, ${row.trained}`];
    lines.forEach((text, line) => {
      const y = middle(index) + 4 + (line - (lines.length - 1) / 2) * 15;
      const name = svg("text", { x: left - 8, y, "text-anchor": "end" }, text);
      chart.drawing.append(name);
      fit(name, left - 8);
    });
  });
  return [chart, middle];
}

/** Shorten a text in the document to so many pixels: letters are as wide as the reader's font has them. */
function fit(drawn, width) {
  const text = drawn.textContent;
  const whole = drawn.getComputedTextLength();
  for (let letters = Math.floor((text.length * width) / whole); whole > width && letters > 1 && drawn.getComputedTextLength() > width; letters -= 1) drawn.textContent = shortened(text, letters);
}

/** Something drawn that tells `text` to whoever points at it or comes to it by keyboard; Tab leads to one mark of a chart. */
function mark(chart, made, text) {
  made.classList.add("mark");
  made.dataset.tip = text;
  made.setAttribute("role", "img");
  made.setAttribute("aria-label", text.replaceAll("\n", "; "));
  made.setAttribute("tabindex", chart.drawing.querySelector(".mark") ? -1 : 0);
  chart.drawing.append(made);
}

function dot(row, x, y, more = {}) {
  return svg("path", { d: SHAPES[shapeOf(row)], transform: `translate(${x},${y})`, fill: colourOf(row), ...more });
}

/** One tip for all charts, beside the pointer or the mark in focus, and inside the window. */
function showTip(found, x, y) {
  const tip = byId("tip");
  tip.hidden = !found;
  if (!found) return;
  tip.textContent = found.dataset.tip;
  const box = tip.getBoundingClientRect();
  tip.style.left = `${Math.max(4, Math.min(x + 12, window.innerWidth - box.width - 4))}px`;
  tip.style.top = `${y + box.height + 20 > window.innerHeight ? y - box.height - 12 : y + 16}px`;
}

function markOf(target) {
  return target?.closest?.(".mark") || null;
}

function showFocused() {
  const found = markOf(document.activeElement);
  const box = found?.getBoundingClientRect();
  showTip(found, box?.right, box?.bottom);
}

/** The arrow keys, Home and End go from mark to mark of a chart. */
function moveAmongMarks(event) {
  const found = markOf(event.target);
  if (!found) return;
  if (event.key === "Escape") return showTip(null);
  const marks = [...found.ownerSVGElement.querySelectorAll(".mark")];
  const at = marks.indexOf(found);
  const next = { ArrowRight: at + 1, ArrowDown: at + 1, ArrowLeft: at - 1, ArrowUp: at - 1, Home: 0, End: marks.length - 1 }[event.key];
  if (next === undefined) return;
  event.preventDefault();
  if (!marks[next]) return;
  found.setAttribute("tabindex", -1);
  marks[next].setAttribute("tabindex", 0);
  marks[next].focus();
}

function listenForTips() {
  for (const name of ["pointermove", "pointerdown"]) document.addEventListener(name, (event) => showTip(markOf(event.target), event.clientX, event.clientY));
  for (const name of ["focusin", "focusout"]) document.addEventListener(name, (event) => (name === "focusin" ? showFocused() : showTip(null)));
  document.addEventListener("keydown", moveAmongMarks);
  document.addEventListener("scroll", showFocused, true);
}

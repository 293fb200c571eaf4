// What the charts show: the first rows of the table as it is filtered.

const MOST_BARS = 30;
const MOST_MARKS = 400;
const MOST_CURVES = 24;
const COLOURS = 8;
const DASHES = [null, "2 3", "7 4", "9 3 2 3"];
const PHASE_NAMES = { train: "training", eval: "evaluation", startup: "start-up", data: "data", build: "build", warmup: "warm-up", checkpoint: "checkpoints", other: "other" };
const CURVES = { test_accuracy: "test accuracy, %", test_loss: "test loss", train_loss: "training loss", train_s: "seconds per epoch" };

let compared = { name: "platform", values: [] };

/** Colour tells what is compared: platforms where there are several, else engines, else divisions. */
function chooseColours(rows) {
  const names = ["platform", "engine", "tuning"];
  const name = names.find((one) => new Set(rows.map((row) => row[one])).size > 1) || "platform";
  const valuesOf = (some) => [...new Set(some.map((row) => row[name]))].sort();
  // a value keeps its colour whatever the filters say, unless there are more values than colours
  const every = valuesOf(data.rows);
  compared = { name, values: every.length > COLOURS ? valuesOf(rows) : every };
}

function colour(index) {
  return `var(--c${index % COLOURS})`;
}

function colourOf(row) {
  return colour(compared.values.indexOf(row[compared.name]));
}

const engines = [...new Set(data.rows.map((row) => row.engine))].sort();

function shapeOf(row) {
  return engines.indexOf(row.engine) % SHAPES.length;
}

function drawCharts() {
  const rows = inOrder();
  chooseColours(rows);
  const priced = rows.filter((row) => row.cost.usd > 0);
  drawTime(rows.slice(0, MOST_BARS));
  byId("chart-accuracy-cost").hidden = !priced.length;
  byId("fronts").classList.toggle("pair", priced.length > 0);
  drawFront("chart-accuracy-time", rows.slice(0, MOST_MARKS), "time", (row) => row.train.median, "training time, s");
  if (priced.length) drawFront("chart-accuracy-cost", priced.slice(0, MOST_MARKS), "cost", (row) => row.cost.usd, "cost of a run, USD (converted)");
  drawCurves(rows);
  drawPhases(rows.slice(0, MOST_BARS));
  drawUsed(rows);
  drawScaling();
}

function drawTime(rows) {
  if (!rows.length) return emptyChart("chart-time", "no rows");
  const [chart, middle] = rowsChart("chart-time", rows);
  const runsOf = (row) => (data.runs[row.ref] || []).slice(0, 100);
  const x = scale(rows.flatMap((row) => [row.train.median, ...runsOf(row).map((run) => run[2])]), [chart.left, chart.right], { zero: true });
  xAxis(chart, x, "training time, s");
  rows.forEach((row, index) => {
    const y = middle(index);
    const at = x(row.train.median);
    const line = svg("line", { x1: at, x2: at, y1: y - 11, y2: y + 11, stroke: colourOf(row), "stroke-width": 3 });
    mark(chart, line, `${row.name}\nmedian ${row.train.text} (n = ${row.n})`);
    for (const run of runsOf(row)) mark(chart, dot(row, x(run[2]), y, { stroke: "var(--paper)" }), `${row.name}\nseed ${run[1]}: ${seconds(run[2])}`);
  });
}

function drawFront(id, unordered, front, spent, title) {
  if (!unordered.length) return emptyChart(id, "no rows");
  const rows = [...unordered].sort((a, b) => spent(a) - spent(b));
  const chart = paper(id, 380, 52);
  chart.top = 26;
  const accuracies = rows.flatMap((row) => [-1, 0, 1].map((side) => 100 * (row.accuracy.median + side * (row.accuracy.sd || 0))));
  const [x, y] = [scale(rows.map(spent), [chart.left, chart.right], { log: true, room: 0.08 }), scale(accuracies, [chart.bottom, chart.top])];
  xAxis(chart, x, title);
  yAxis(chart, y, "test accuracy, %");
  const best = rows.filter((row) => row.fronts.includes(front)).map((row) => [x(spent(row)), y(row.accuracy.median * 100)]);
  const stairs = best.map(([across, up], index) => (index ? `H${across}V${up}` : `M${across},${up}`)).join("");
  chart.drawing.append(svg("path", { class: "front", d: stairs }));
  const named = [];
  for (const row of rows) {
    const at = [x(spent(row)), y(row.accuracy.median * 100)];
    // names that would lie on each other are left to the tips
    const free = !isNarrow() && named.every(([across, up]) => Math.abs(across - at[0]) > 340 || Math.abs(up - at[1]) > 16);
    if (free) named.push(at);
    drawSpent(chart, row, { x: at[0], y, front, named: free });
  }
}

function drawSpent(chart, row, { x, y, front, named }) {
  const [middle, spread] = [row.accuracy.median * 100, (row.accuracy.sd || 0) * 100];
  chart.drawing.append(svg("line", { class: "spread", x1: x, x2: x, y1: y(middle - spread), y2: y(middle + spread) }));
  const look = { stroke: row.fronts.includes(front) ? "var(--ink)" : colourOf(row), "stroke-width": 1.5 };
  if (row.gate.outcome === "not shown equivalent") look.fill = "var(--paper)";
  const cost = [row.cost.text, row.cost.usdText].filter(Boolean).join("; ");
  mark(chart, dot(row, x, y(middle), look), `${row.name}\n${row.train.text}, ${row.accuracy.text} (n = ${row.n})\n${cost}\naccuracy gate: ${row.gate.outcome}`);
  if (!named) return;
  // near an edge a name stands on the inner side
  const end = x > (chart.left + chart.right) / 2;
  chart.drawing.append(svg("text", { class: "name", x: x + (end ? -9 : 9), y: y(middle) - 8, "text-anchor": end ? "end" : "start" }, row.ref));
}

function drawCurves(rows) {
  const what = byId("curve-what").value;
  const byTime = byId("curve-against").value === "time";
  const shown = rows.flatMap((row) => (data.runs[row.ref] || []).filter((run) => Object.hasOwn(data.histories, run[0])).map((run) => ({ row, run })));
  const some = shown.slice(0, MOST_CURVES);
  const fewer = some.length > 0 && (shown.length > some.length || data.counts.histories < data.counts.runs);
  byId("curve-note").textContent = fewer ? `${some.length} runs drawn, those of the first rows; filter to see others. The page carries the histories of ${data.counts.histories} of ${data.counts.runs} runs.` : "";
  byId("curve-key").replaceChildren();
  if (!some.length) return emptyChart("chart-curves", "no histories of these rows on this page");
  const lines = some.map(({ row, run }) => ({ row, run, ...curve(data.histories[run[0]], what, byTime) }));
  const chart = paper("chart-curves", 400, 56);
  chart.top = 26;
  const x = scale(lines.flatMap((line) => line.x), [chart.left, chart.right], { zero: byTime, room: 0.02 });
  const y = scale(lines.flatMap((line) => line.y), [chart.bottom, chart.top]);
  xAxis(chart, x, byTime ? "training time, s" : "epoch");
  yAxis(chart, y, CURVES[what]);
  for (const line of lines) {
    const look = { class: "curve", stroke: colourOf(line.row), "stroke-dasharray": DASHES[engines.indexOf(line.row.engine) % DASHES.length] };
    chart.drawing.append(svg("path", { d: line.x.map((value, index) => `${index ? "L" : "M"}${x(value).toFixed(1)},${y(line.y[index]).toFixed(1)}`).join(""), ...look }));
    line.x.forEach((value, index) => {
      const text = `${line.row.name}\nseed ${line.run[1]}, ${byTime ? `after ${seconds(value)}` : `epoch ${value}`}: ${brief(line.y[index])}`;
      mark(chart, svg("circle", { class: "touch", cx: x(value), cy: y(line.y[index]), r: 5 }), text);
    });
  }
  showKey("curve-key", [...new Set(lines.map((line) => line.row))].map((row) => [colourOf(row), `${shortened(row.label, 36)}, ${row.trained}`]));
}

function curve(history, what, byTime) {
  let elapsed = 0;
  const factor = what === "test_accuracy" ? 100 : 1;
  return { x: history.train_s.map((value, index) => (byTime ? (elapsed += value) : index + 1)), y: history[what].map((value) => value * factor) };
}

/** Colours and what they mean, wrapped as text is. */
function showKey(id, entries) {
  byId(id).replaceChildren(...entries.map(([shade, text]) => {
    const swatch = element("span", { class: "swatch", style: `background: ${shade}` });
    return element("span", {}, swatch, text);
  }));
}

function drawPhases(rows) {
  showKey("phase-key", data.phases.map((phase, index) => [colour(index), PHASE_NAMES[phase]]));
  if (!rows.length) return emptyChart("chart-phases", "no rows");
  const [chart, middle] = rowsChart("chart-phases", rows);
  const sum = (values) => values.reduce((one, other) => one + other, 0);
  const x = scale([0, ...rows.map((row) => sum(row.phases))], [chart.left, chart.right], { zero: true });
  xAxis(chart, x, "median seconds of a run");
  rows.forEach((row, index) => {
    let before = 0;
    row.phases.forEach((value, phase) => {
      const [from, to] = [x(before), x(before + value)];
      before += value;
      if (!value) return;
      const bar = svg("rect", { class: to - from > 4 ? "bar" : null, x: from, y: middle(index) - 9, width: Math.max(1, to - from), height: 18, fill: colour(phase) });
      mark(chart, bar, `${row.name}\n${PHASE_NAMES[data.phases[phase]]}: ${seconds(value)} of ${seconds(row.total.median)}`);
    });
  });
}

function drawUsed(rows) {
  const name = byId("used-what").value;
  const known = rows.filter((row) => Object.hasOwn(row.used, name)).slice(0, MOST_BARS);
  if (!known.length) return emptyChart("chart-used", "no reading of this in these rows");
  const [chart, middle] = rowsChart("chart-used", known);
  const x = scale(known.map((row) => row.used[name]), [chart.left, chart.right], { zero: true });
  xAxis(chart, x, isNarrow() ? "" : data.used[name]);
  known.forEach((row, index) => {
    const bar = svg("rect", { x: x(0), y: middle(index) - 9, width: Math.max(1, x(row.used[name]) - x(0)), height: 18, fill: colourOf(row) });
    mark(chart, bar, `${row.name}\n${brief(row.used[name])} (median, n = ${row.n})`);
  });
}

/** One line for each row on a single device, over the rows that spread its work; whatever the filters say. */
function drawScaling() {
  if (!data.scaling.length) return;
  const series = new Map();
  for (const entry of data.scaling) {
    const name = `${entry.base} ${entry.weak}`;
    series.set(name, [...(series.get(name) || []), entry]);
  }
  const drawn = [...series.values()].slice(0, MOST_CURVES);
  const chart = paper("chart-scaling", 380, 52);
  chart.top = 26;
  const x = scale([1, ...data.scaling.map((entry) => entry.devices)], [chart.left, chart.right]);
  x.ticks = x.ticks.filter(Number.isInteger);
  const y = scale([0, 100, ...data.scaling.map((entry) => entry.efficiency * 100)], [chart.bottom, chart.top], { zero: true });
  xAxis(chart, x, "devices");
  yAxis(chart, y, "efficiency, %");
  drawn.forEach((entries, index) => {
    const base = rowOf.get(entries[0].base);
    const points = [[1, 100, base, "1 device: 100 %"], ...entries.map((entry) => [entry.devices, entry.efficiency * 100, rowOf.get(entry.ref), `${entry.devices} devices: ${entry.text}`])];
    chart.drawing.append(svg("path", { class: "curve", d: points.map(([devices, percent], at) => `${at ? "L" : "M"}${x(devices)},${y(percent)}`).join(""), stroke: colour(index) }));
    for (const [devices, percent, row, text] of points) mark(chart, dot(row, x(devices), y(percent), { fill: colour(index) }), `${row.name}\n${text}`);
  });
  showKey("scaling-key", drawn.map(([first], index) => [colour(index), rowOf.get(first.base).name + (first.weak ? ", 64 images a device" : "")]));
}

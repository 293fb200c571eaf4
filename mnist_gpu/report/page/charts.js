// The plots, by plotly.js. They show the first rows of the table as it is filtered.

const MOST_BARS = 30;
const MOST_MARKS = 400;
const MOST_CURVES = 24;
// Okabe and Ito's palette, told apart by people who see no red or green; then plotly symbols
const COLOURS = ["#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#999999", "#b8a800"];
const SYMBOLS = ["circle", "square", "diamond", "cross", "x", "triangle-up", "pentagon", "star"];
const PHASE_NAMES = { train: "training", eval: "evaluation", startup: "start-up", data: "data", build: "build", warmup: "warm-up", checkpoint: "checkpoints", other: "other" };

const engines = [...new Set(data.rows.map((row) => row.engine))].sort();
const platforms = [...new Set(data.rows.map((row) => row.platform))].sort();

function colourOf(row) {
  return COLOURS[platforms.indexOf(row.platform) % COLOURS.length];
}

function symbolOf(row) {
  return SYMBOLS[engines.indexOf(row.engine) % SYMBOLS.length];
}

/** A row's name beside an axis: on two lines where there is no room for one. */
function tick(row) {
  if (isNarrow()) return `${plain(shortened(row.label, 16))}<br>${plain(`${row.engine} ${row.ref}`)}`;
  return plain(`${shortened(row.label, 36)}, ${row.engine}  ${row.ref}`);
}

function legendName(row) {
  return plain(`${shortened(row.label, isNarrow() ? 18 : 36)}, ${row.engine} ${row.ref}`);
}

function colours() {
  const style = getComputedStyle(document.documentElement);
  return Object.fromEntries(["paper", "ink", "quiet", "line"].map((name) => [name, style.getPropertyValue(`--${name}`).trim()]));
}

function axis(title, more = {}) {
  const { line, ink } = colours();
  return { title: { text: title, standoff: 8, font: { size: isNarrow() ? 12 : 14 } }, gridcolor: line, zerolinecolor: line, linecolor: line, color: ink, automargin: true, ...more };
}

function draw(id, traces, layout) {
  const { paper, ink, line } = colours();
  const all = {
    paper_bgcolor: paper, plot_bgcolor: paper, font: { color: ink, size: isNarrow() ? 11 : 13 },
    margin: { l: 10, r: 10, t: 10, b: 10 }, showlegend: false, hovermode: "closest",
    hoverlabel: { bgcolor: paper, bordercolor: line, font: { color: ink }, align: "left", namelength: 0 },
    ...layout,
  };
  Plotly.react(id, traces, all, { responsive: true, displayModeBar: false });
}

function empty(id, text) {
  const { quiet } = colours();
  const annotations = [{ text, showarrow: false, font: { color: quiet } }];
  draw(id, [], { height: 140, annotations, xaxis: { visible: false }, yaxis: { visible: false } });
}

function drawCharts() {
  const rows = sorted(view.rows);
  drawTime(rows.slice(0, MOST_BARS));
  drawFront("chart-accuracy-time", rows.slice(0, MOST_MARKS), "time", (row) => row.train.median, "training time, s");
  const priced = rows.filter((row) => row.cost.usd !== null);
  drawFront("chart-accuracy-cost", priced.slice(0, MOST_MARKS), "cost", (row) => row.cost.usd, "cost of a run, USD (converted)");
  drawCurves(rows);
  drawPhases(rows.slice(0, MOST_BARS));
  drawUsed(rows);
  drawScaling();
}

function barsHeight(rows) {
  return 110 + rows.length * (isNarrow() ? 38 : 30);
}

/** Rows from top to bottom, named; plotly would sort or merge names that are alike. */
function rowAxis(rows) {
  return axis("", { tickvals: rows.map((_, place) => place), ticktext: rows.map(tick), range: [rows.length - 0.4, -0.6], gridcolor: "rgba(0,0,0,0)", zeroline: false });
}

function drawTime(rows) {
  if (!rows.length) return empty("chart-time", "no rows");
  const runs = rows.flatMap((row, place) => data.runs[row.ref].slice(0, 100).map((run) => ({ row, place, run })));
  const points = {
    type: "scatter", mode: "markers", x: runs.map(({ run }) => run.train), y: runs.map(({ place }) => place),
    marker: { color: runs.map(({ row }) => colourOf(row)), symbol: runs.map(({ row }) => symbolOf(row)), size: 9, opacity: 0.8 },
    text: runs.map(({ row, run }) => plain(`${row.name}\nseed ${run.seed}: ${seconds(run.train)}`).replace("\n", "<br>")),
    hovertemplate: "%{text}<extra></extra>",
  };
  const medians = {
    type: "scatter", mode: "markers", x: rows.map((row) => row.train.median), y: rows.map((_, place) => place),
    marker: { symbol: "line-ns", size: 20, line: { width: 3, color: rows.map(colourOf) } },
    text: rows.map((row) => plain(`${row.name}\nmedian ${row.train.text} (n = ${row.n})`).replace("\n", "<br>")),
    hovertemplate: "%{text}<extra></extra>",
  };
  draw("chart-time", [medians, points], {
    height: barsHeight(rows), yaxis: rowAxis(rows), xaxis: axis("training time, s", { rangemode: "tozero" }),
  });
}

function drawFront(id, unordered, front, spent, title) {
  const rows = [...unordered].sort((a, b) => spent(a) - spent(b));
  if (!rows.length) return empty(id, front === "cost" ? "no row has a cost in dollars" : "no rows");
  const best = rows.filter((row) => row.fronts.includes(front));
  const { quiet } = colours();
  const stair = {
    type: "scatter", mode: "lines", x: best.map(spent), y: best.map((row) => row.accuracy.median * 100),
    line: { color: quiet, width: 2, dash: "dot", shape: "hv" }, hoverinfo: "skip",
  };
  const marks = {
    type: "scatter", mode: isNarrow() || rows.length > 12 ? "markers" : "markers+text",
    x: rows.map(spent), y: rows.map((row) => row.accuracy.median * 100),
    error_y: { type: "data", array: rows.map((row) => (row.accuracy.sd || 0) * 100), color: quiet, thickness: 1 },
    marker: {
      color: rows.map(colourOf), symbol: rows.map((row) => symbolOf(row) + (row.gate.outcome === "not shown equivalent" ? "-open" : "")), size: 12,
      line: { color: colours().ink, width: rows.map((row) => (row.fronts.includes(front) ? 2 : 0)) },
    },
    // neighbours are named on either side, so that close ones can be told apart
    text: rows.map((row) => row.ref), textposition: rows.map((_, place) => (place % 2 ? "bottom left" : "top right")), cliponaxis: false,
    customdata: rows.map((row) => frontText(row)), hovertemplate: "%{customdata}<extra></extra>",
  };
  draw(id, [stair, marks], {
    height: 380, margin: { l: 10, r: 24, t: 24, b: 10 },
    xaxis: axis(title, { type: "log", ...logTicks(rows.map(spent)) }), yaxis: axis("test accuracy, %"),
  });
}

/** Ticks at 1, 2 and 5 of every decade, or at 1 alone over many; written out in full. */
function logTicks(values) {
  const [low, high] = [Math.min(...values), Math.max(...values)].map((value) => Math.log10(Math.max(value, 1e-9)));
  const steps = high - low > (isNarrow() ? 1.2 : 2.5) ? [1] : [1, 2, 5];
  const decades = Array.from({ length: Math.floor(high) - Math.floor(low) + 2 }, (_, index) => 10 ** (Math.floor(low) + index));
  const tickvals = decades.flatMap((decade) => steps.map((step) => step * decade));
  const margin = Math.max(0.2, (high - low) * 0.08);
  return { tickvals, ticktext: tickvals.map((value) => value.toLocaleString("en", { maximumSignificantDigits: 1 })), range: [low - margin, high + margin] };
}

function frontText(row) {
  const cost = [row.cost.text, row.cost.usdText].filter(Boolean).join("; ");
  const gate = row.gate.outcome === "not shown equivalent" ? ["accuracy not shown equivalent"] : [];
  return [row.name, `${row.train.text}, ${row.accuracy.text} (n = ${row.n})`, cost, ...gate].map(plain).join("<br>");
}

function drawCurves(rows) {
  const what = byId("curve-what").value;
  const byTime = byId("curve-against").value === "time";
  const shown = rows.flatMap((row) => data.runs[row.ref].filter((run) => data.histories[run.id]).map((run) => ({ row, run })));
  const some = shown.slice(0, MOST_CURVES);
  byId("curve-note").textContent = shown.length > some.length || data.counts.histories < data.counts.runs ? `${some.length} runs drawn, those of the first rows; filter to see others. The page carries the histories of ${data.counts.histories} of ${data.counts.runs} runs.` : "";
  if (!some.length) return empty("chart-curves", "no histories of these rows on this page");
  const factor = what === "test_accuracy" ? 100 : 1;
  const named = new Set();
  const traces = some.map(({ row, run }) => {
    const history = data.histories[run.id];
    let elapsed = 0;
    return {
      name: legendName(row), legendgroup: row.ref, showlegend: !named.has(row.ref) && Boolean(named.add(row.ref)),
      type: "scatter", mode: "lines", x: history.train_s.map((value, index) => (byTime ? (elapsed += value) : index + 1)),
      y: history[what].map((value) => value * factor), line: { color: colourOf(row), width: 1.6, dash: ["solid", "dot", "dash", "dashdot"][engines.indexOf(row.engine) % 4] },
      // plotly leaves a line's one text out of its template, so it stands in the template itself
      hovertemplate: `${plain(row.name)}<br>seed ${run.seed}, ${byTime ? "after %{x:.4~g} s" : "epoch %{x}"}: %{y:.4~g}<extra></extra>`,
    };
  });
  const titles = { test_accuracy: "test accuracy, %", test_loss: "test loss", train_loss: "training loss", train_s: "seconds per epoch" };
  draw("chart-curves", traces, {
    height: 400 + named.size * (isNarrow() ? 20 : 8), showlegend: true, legend: { orientation: "h", y: -0.2, yanchor: "top", x: 0 },
    xaxis: axis(byTime ? "training time, s" : "epoch"), yaxis: axis(titles[what]),
  });
}

/** The names of the phases, wrapped as text is: plotly's own would crowd out the bars of a phone. */
function showPhaseKey() {
  byId("phase-key").replaceChildren(...data.phases.map((phase, index) => {
    const swatch = element("span", { class: "swatch", style: `background: ${COLOURS[index % COLOURS.length]}` });
    return element("span", {}, swatch, PHASE_NAMES[phase]);
  }));
}

function drawPhases(rows) {
  if (!rows.length) return empty("chart-phases", "no rows");
  const traces = data.phases.map((phase, index) => ({
    type: "bar", orientation: "h", name: PHASE_NAMES[phase], y: rows.map((_, place) => place), x: rows.map((row) => row.phases[index]),
    marker: { color: COLOURS[index % COLOURS.length] },
    text: rows.map((row) => plain(`${row.name}\n${PHASE_NAMES[phase]}: ${seconds(row.phases[index])} of ${seconds(row.total.median)}`).replace("\n", "<br>")),
    textposition: "none", hovertemplate: "%{text}<extra></extra>",
  }));
  draw("chart-phases", traces, {
    barmode: "stack", height: barsHeight(rows),
    yaxis: rowAxis(rows), xaxis: axis(isNarrow() ? "median seconds" : "median seconds of a run"),
  });
}

function drawUsed(rows) {
  const name = byId("used-what").value;
  const known = rows.filter((row) => row.used[name] !== null).slice(0, MOST_BARS);
  if (!known.length) return empty("chart-used", "no reading of this in these rows");
  const bars = {
    type: "bar", orientation: "h", y: known.map((_, place) => place), x: known.map((row) => row.used[name]), marker: { color: known.map(colourOf) },
    text: known.map((row) => plain(`${row.name}\n${row.used[name].toLocaleString("en", { maximumSignificantDigits: 4 })} (median, n = ${row.n})`).replace("\n", "<br>")),
    textposition: "none", hovertemplate: "%{text}<extra></extra>",
  };
  draw("chart-used", [bars], { height: barsHeight(known), yaxis: rowAxis(known), xaxis: axis(isNarrow() ? "" : data.used[name], { rangemode: "tozero" }) });
}

/** One line for each row on a single device, over the rows that spread its work; whatever the filters say. */
function drawScaling() {
  if (!data.scaling.length) return;
  const rowOf = new Map(data.rows.map((row) => [row.ref, row]));
  const series = new Map();
  for (const entry of data.scaling) series.set(seriesName(entry), [...(series.get(seriesName(entry)) || []), entry]);
  const traces = [...series].slice(0, MOST_CURVES).map(([, entries], index) => {
    const base = rowOf.get(entries[0].base);
    return {
      type: "scatter", mode: "lines+markers", name: legendName(base) + (entries[0].weak ? ", 64 images a device" : ""), showlegend: true,
      x: [1, ...entries.map((entry) => entry.devices)], y: [100, ...entries.map((entry) => entry.efficiency * 100)],
      line: { color: COLOURS[index % COLOURS.length], width: 2 }, marker: { symbol: symbolOf(base), size: 9 },
      text: [plain(base.name), ...entries.map((entry) => plain(`${rowOf.get(entry.ref).name}\n${entry.devices} devices: ${entry.text}`).replace("\n", "<br>"))],
      hovertemplate: "%{text}<extra></extra>",
    };
  });
  draw("chart-scaling", traces, {
    height: 380, legend: { orientation: "h", y: -0.2, yanchor: "top", x: 0 },
    xaxis: axis("devices", { dtick: data.scaling.some((entry) => entry.devices > 12) ? undefined : 1 }), yaxis: axis("efficiency, %", { rangemode: "tozero" }),
  });
}

function seriesName(entry) {
  return `${entry.base} ${entry.weak}`;
}

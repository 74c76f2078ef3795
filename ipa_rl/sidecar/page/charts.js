// Lines over time as SVG, with one cursor for all of them.

import { clock, duration, element, newest, number, shape, text } from "./words.js";

const HEIGHT = 190;
const MARGIN = { top: 10, right: 12, bottom: 22, left: 44 };
const TIME_STEPS_S = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800];

const CHARTS = [
  {
    id: "load", title: "Load", unit: "requests/s", digits: 1, fromZero: true,
    lines: [["load_rps", "load", "first"], ["planned_rps", "planned for", "second"], ["forecast_rps", "program's forecast", "third"]],
  },
  {
    id: "latency", title: "Latency p99", unit: "s", digits: 2, fromZero: true, limit: true,
    lines: [["latency_p99_s", "measured", "first"], ["present_p99_s", "simulated", "second"], ["program_p99_s", "integer program, simulated", "third"]],
  },
  {
    id: "pas", title: "Accuracy", unit: "PAS × 100", digits: 2, fromZero: false,
    lines: [["present_pas_x100", "as it runs", "first"], ["agent_pas_x100", "agent", "second"], ["program_pas_x100", "integer program", "third"]],
  },
  {
    id: "cost", title: "Cost", unit: "cores", digits: 1, fromZero: true,
    lines: [["present_cores", "as it runs", "first"], ["agent_cores", "agent", "second"], ["program_cores", "integer program", "third"]],
  },
];

let hour = null;
let cursorMs = null; // the moment that is read; null: the newest

export function drawCharts(found) {
  hour = found;
  const times = hour.series.time_ms;
  text("span", times.length > 1 ? `(${duration(newest(times) - times[0])} seen, until ${clock(newest(times))})` : "");
  const acting = hour.last !== null && hour.last.acted; // then the agent's line is the pipeline's own
  for (const chart of CHARTS) draw(chart, acting);
}

function draw(chart, acting) {
  const figure = document.getElementById(`chart-${chart.id}`) ?? frame(chart);
  const known = chart.lines
    .filter(([column]) => hour.series[column].some((value) => value !== null))
    .filter(([column]) => !(acting && column.startsWith("agent_")))
    .map(([column, name, kind], k) => [column, name, k ? kind : "first"]);
  const svg = figure.querySelector(".drawing svg");
  const scale = scales(chart, known, svg.parentElement.clientWidth);
  svg.setAttribute("viewBox", `0 0 ${scale.width} ${HEIGHT}`);
  svg.replaceChildren(...axes(chart, scale), ...known.map(([column, , kind]) => line(column, kind, scale)), ...limit(chart, scale),
    shape("line", { class: "cursor", y1: MARGIN.top, y2: HEIGHT - MARGIN.bottom, visibility: "hidden" }));
  figure.read = () => read(chart, known, figure, scale);
  figure.read();
}

function frame(chart) {
  const svg = shape("svg", { role: "img", tabindex: 0, height: HEIGHT });
  const figure = element("figure", { class: "card chart", id: `chart-${chart.id}` },
    element("figcaption", {}, element("h3", {}, chart.title, " ", element("span", { class: "soft" }, chart.unit)),
      element("ul", { class: "legend" })),
    element("div", { class: "drawing" }, svg));
  svg.addEventListener("pointermove", (event) => point(event, svg));
  svg.addEventListener("pointerleave", () => moveTo(null));
  svg.addEventListener("blur", () => moveTo(null));
  svg.addEventListener("keydown", key);
  document.getElementById("charts").append(figure);
  return figure;
}

function scales(chart, known, width) {
  const times = hour.series.time_ms;
  const values = known.flatMap(([column]) => hour.series[column].filter((value) => value !== null));
  if (chart.limit) values.push(hour.about.sla_s);
  let [low, high] = values.length ? [Math.min(...values), Math.max(...values)] : [0, 1];
  if (chart.fromZero) low = Math.min(0, low);
  if (high - low < 1e-9) [low, high] = chart.fromZero ? [low, low + 1] : [low - 1, high + 1];
  const step = nice((high - low) / 4);
  low = Math.floor(low / step + 1e-9) * step;
  high = Math.ceil(high / step - 1e-9) * step;
  const [from, to] = times.length > 1 ? [times[0], newest(times)] : [0, 1];
  const x = (ms) => MARGIN.left + ((ms - from) / Math.max(to - from, 1)) * (width - MARGIN.left - MARGIN.right);
  const y = (value) => HEIGHT - MARGIN.bottom - ((value - low) / (high - low)) * (HEIGHT - MARGIN.top - MARGIN.bottom);
  return { x, y, from, to, low, high, step, width };
}

function nice(rough) {
  const power = 10 ** Math.floor(Math.log10(rough));
  return [1, 2, 5, 10].map((factor) => factor * power).find((step) => step >= rough - 1e-12);
}

function axes(chart, { x, y, from, to, low, high, step, width }) {
  const made = [];
  const digits = Math.max(0, -Math.floor(Math.log10(step) + 1e-9));
  for (let value = low; value <= high + step / 2; value += step) {
    made.push(shape("line", { class: "grid", x1: MARGIN.left, x2: width - MARGIN.right, y1: y(value), y2: y(value) }));
    made.push(shape("text", { class: "tick", x: MARGIN.left - 6, y: y(value) + 4, "text-anchor": "end" }, number(value, digits)));
  }
  const room = Math.max(Math.floor(width / 90), 2);
  const stepMs = 1000 * (TIME_STEPS_S.find((one) => (to - from) / 1000 / one <= room) ?? 1800);
  for (let ms = Math.ceil(from / stepMs) * stepMs; to > 1 && ms <= to; ms += stepMs) {
    const label = stepMs < 60_000 ? clock(ms) : clock(ms).slice(0, 5);
    if (x(ms) < width - 30) made.push(shape("text", { class: "tick", x: x(ms), y: HEIGHT - 6, "text-anchor": "middle" }, label));
  }
  return made;
}

function line(column, kind, { x, y }) {
  const { time_ms: times } = hour.series;
  let path = "";
  let drawing = false;
  hour.series[column].forEach((value, k) => {
    if (value !== null) path += `${drawing ? "L" : "M"}${x(times[k]).toFixed(1)} ${y(value).toFixed(1)}${drawing ? "" : "h0"}`;
    drawing = value !== null;
  });
  return shape("path", { class: `line ${kind}`, d: path });
}

function limit(chart, { y, width }) {
  if (!chart.limit) return [];
  const at = y(hour.about.sla_s);
  return [
    shape("line", { class: "limit", x1: MARGIN.left, x2: width - MARGIN.right, y1: at, y2: at }),
    shape("text", { class: "tick limit-name", x: width - MARGIN.right - 4, y: at + 14, "text-anchor": "end" }, `SLA ${number(hour.about.sla_s, 2)} s`),
  ];
}

// The figures at the cursor, in the legend, and the whole in words for those who do not see it.
function read(chart, known, figure, { x }) {
  const at = nearest();
  const cursor = figure.querySelector(".cursor");
  cursor.setAttribute("visibility", cursorMs === null ? "hidden" : "visible");
  if (cursorMs !== null) for (const end of ["x1", "x2"]) cursor.setAttribute(end, x(hour.series.time_ms[at]));
  const figures = known.map(([column, name, kind]) => [name, kind, number(hour.series[column][at] ?? null, chart.digits)]);
  const made = figures.map(([name, kind, value]) =>
    element("li", {}, shape("svg", { class: "key", viewBox: "0 0 20 8", "aria-hidden": "true" }, shape("path", { class: `line ${kind}`, d: "M1 4H19" })),
      `${name} `, element("b", {}, value)));
  if (cursorMs !== null) made.unshift(element("li", { class: "soft" }, clock(hour.series.time_ms[at])));
  figure.querySelector(".legend").replaceChildren(...made);
  const words = figures.map(([name, , value]) => `${name} ${value}`).join(", ");
  figure.querySelector(".drawing svg").setAttribute("aria-label", `${chart.title}, ${chart.unit}: ${words || "nothing known yet"}`);
}

function nearest() {
  const times = hour.series.time_ms;
  if (cursorMs === null) return times.length - 1;
  return times.reduce((best, ms, k) => (Math.abs(ms - cursorMs) < Math.abs(times[best] - cursorMs) ? k : best), 0);
}

function moveTo(ms) {
  if (!hour || ms === cursorMs) return;
  cursorMs = hour.series.time_ms.length ? ms : null;
  for (const figure of document.querySelectorAll(".chart")) figure.read();
}

function point(event, svg) {
  const box = svg.getBoundingClientRect();
  const times = hour.series.time_ms;
  if (times.length < 2) return;
  const share = (event.clientX - box.left - MARGIN.left) / (box.width - MARGIN.left - MARGIN.right);
  moveTo(times[0] + Math.min(Math.max(share, 0), 1) * (newest(times) - times[0]));
}

function key(event) {
  const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  const times = hour.series.time_ms;
  if (event.key === "Escape") moveTo(null);
  if (!by || !times.length) return;
  event.preventDefault();
  moveTo(times[Math.min(Math.max(nearest() + by, 0), times.length - 1)]);
}

// The pipeline as a picture, the figures of now, and what others would do.

import { amount, element, mean, newest, number, shape, signed } from "./words.js";

const MOST_SQUARES = 40;
const NAMES = { present: "as it runs", program: "integer program", agent: "agent" };

export function drawTiles({ about, last, series }) {
  const [simulated, measured] = [newest(series.present_p99_s), last && last.latency_p99_s];
  const violations = mean(series.present_violations);
  const planned = last && last.by !== "held";
  const applied = last && (last.acted || last.by === "held");
  const made = [
    tile("Load", number(last && last.load_rps), "requests/s",
      last ? `${planned ? "planned for" : "last planned for"} ${number(last.planned_rps)}` : ""),
    tile("Latency p99", number(measured ?? simulated, 2), "s",
      `${measured === null ? "simulated" : "measured"}; SLA ${number(about.sla_s, 2)} s`),
    tile("PAS", number(last && last.worth.pas_x100, 2), "× 100", worthOf(last, applied)),
    tile("Cost", amount(last && last.worth.cores), "cores", applied ? "asked for" : "would be asked for"),
    tile("SLA violated", number(violations === null ? null : 100 * violations, 2), "%", "last hour, simulated"),
    tile("Worth", last && last.program ? signed(last.program.difference.utility, 2) : "–", "utility", "ours less the program's"),
  ];
  document.getElementById("tiles").replaceChildren(...made);
}

function worthOf(last, applied) {
  if (last && last.overdue.length) return "of what serves";
  return applied ? "of what is asked for" : "of what would be asked for";
}

function tile(name, value, unit, note) {
  return element("div", { class: "tile" },
    element("dt", {}, name),
    element("dd", {}, element("b", {}, value), " ", element("span", { class: "unit" }, unit),
      element("span", { class: "soft note" }, note)));
}

export function drawPipeline(about, last) {
  const ends = (name, words) => element("li", { class: "end" }, element("b", {}, name), element("span", { class: "soft" }, words));
  const load = last && last.load_rps !== null ? `${number(last.load_rps)} requests/s` : "load not known";
  const stages = about.stages.map((stage, s) => picture(stage, last && last.stages[s], last && queued(last, s), last && measured(last, stage.name)));
  const flow = [ends("requests", load), ...columns(about.stages, stages), ends("answers", `within ${number(about.sla_s, 2)} s`)];
  const arrow = () => element("li", { class: "arrow", "aria-hidden": "true" });
  document.getElementById("pipeline").replaceChildren(...flow.flatMap((one, k) => (k ? [arrow(), one] : [one])));
}

// Stages that are as far from the first one stand below each other.
function columns(stages, pictures) {
  const found = [];
  stages.forEach(({ depth }, s) => (found[depth] ??= []).push(pictures[s]));
  return found.map((own) => (own.length === 1 ? own[0] : element("li", { class: "column" }, element("ul", {}, ...own))));
}

function queued(last, s) {
  if (last.queued[s] === null) return "queue not known";
  return last.queued[s] >= 0.5 ? `${number(last.queued[s], 0)} requests wait` : "no queue";
}

function measured(last, stage) {
  const found = [...(last.service ?? []), ...(last.starts ?? [])].filter((one) => one.stage === stage);
  return found.map((one) => one.told).join("; ");
}

function picture(stage, seen, queue, measured) {
  const comes = stage.comes.length ? element("p", { class: "comes soft" }, stage.comes.join("; ")) : false;
  if (!seen) return element("li", { class: "stage" }, element("h3", {}, stage.name), comes, element("p", { class: "soft" }, "not seen yet"));
  const starting = Math.max(seen.current - seen.ready, 0);
  const next = seen.asked[0] !== null && (seen.asked[0] !== seen.variant || seen.asked[1] !== seen.batch);
  const trouble = [
    seen.restarts ? `${seen.restarts} restarts` : "",
    seen.unschedulable ? `${seen.unschedulable} find no node` : "",
  ].filter(Boolean).join(", ");
  return element("li", { class: "stage", "data-full": String(seen.ready >= seen.desired) },
    element("h3", {}, stage.name),
    comes,
    element("p", { class: "variant" }, swatch(stage, seen.variant), element("b", {}, seen.variant ?? "nothing serves"),
      accuracy(stage, seen.variant)),
    element("p", {}, "batch size ", element("b", {}, String(seen.batch ?? "–"))),
    next && element("p", { class: "next" }, `changing to ${seen.asked[0]}, batch size ${seen.asked[1]}`),
    squares(seen, starting),
    element("p", {}, element("b", {}, `${seen.ready} of ${seen.desired}`), " ready",
      starting > 0 && element("span", { class: "starting" }, `, ${starting} starting`)),
    element("p", { class: "soft" }, queue),
    measured && element("p", { class: "measured" }, measured),
    trouble && element("p", { class: "trouble" }, trouble));
}

function swatch(stage, name) {
  const index = stage.variants.findIndex((one) => one.name === name);
  return shape("svg", { class: "swatch", viewBox: "0 0 10 10", "aria-hidden": "true" },
    shape("rect", { width: 10, height: 10, rx: 2, class: `variant-${index < 0 ? "none" : index % 8}` }));
}

function accuracy(stage, name) {
  const found = stage.variants.find((one) => one.name === name);
  if (!found) return false;
  const unit = found.resource === "cores" && found.units === 1 ? "core" : found.resource;
  return element("span", { class: "soft" }, ` accuracy ${number(100 * found.accuracy)} %, ${found.units} ${unit} each`);
}

function squares(seen, starting) {
  const missing = Math.max(seen.desired - seen.ready - starting, 0);
  const all = [
    ...Array(seen.ready).fill("is-ready"), ...Array(starting).fill("is-starting"), ...Array(missing).fill("is-missing"),
  ];
  const made = all.slice(0, MOST_SQUARES).map((kind) => element("span", { class: `replica ${kind}` }));
  const more = all.length > MOST_SQUARES ? element("span", { class: "soft" }, `+${all.length - MOST_SQUARES}`) : null;
  return element("div", { class: "replicas", "aria-hidden": "true" }, ...made, more);
}

export function drawProgram(last) {
  const table = document.getElementById("program");
  const words = document.getElementById("program-text");
  if (!last || !last.program) {
    words.textContent = "Not known: it has no load to decide for.";
    table.replaceChildren();
    return;
  }
  const { program } = last;
  const rows = last.stages.map((stage, s) => {
    const [ours, theirs] = [last.configuration[s], program.configuration[s]];
    const differs = ["variant", "batch", "replicas"].some((knob) => ours[knob] !== theirs[knob]);
    return row([stage.stage, configured(ours), configured(theirs)], differs ? "differs" : "same");
  });
  const same = rows.every((one) => one.className === "same");
  const { difference } = program;
  words.textContent = `${same ? "The same" : "Another configuration"}, for a forecast of ${number(program.planned_rps)} requests/s. `
    + `Ours is worth ${signed(difference.utility, 2)} utility by the model at this load, `
    + `with ${signed(difference.cores, Number.isInteger(difference.cores) ? 0 : 1)} cores and ${signed(difference.pas_x100, 2)} PAS × 100.`;
  fill(table, ["stage", ours(last), "integer program"], rows);
}

function ours(last) {
  return last.by === "held" ? "held" : last.by === "program" ? "in force" : `agent ${last.by}`;
}

function configured(one) {
  return `${one.variant}, batch ${one.batch}, ×${one.replicas}`;
}

export function drawContenders({ series }) {
  const figures = [["utility", 2, 1], ["pas_x100", 2, 1], ["cores", 2, 1], ["p99_s", 2, 1], ["violations", 2, 100]];
  const rows = Object.entries(NAMES).map(([who, name]) =>
    row([name, ...figures.map(([figure, digits, times]) => {
      const found = mean(series[`${who}_${figure}`]);
      return number(found === null ? null : times * found, digits);
    })], who));
  const heads = ["", "utility", "PAS × 100", "cores", "p99 s", "violated %"];
  fill(document.getElementById("contenders"), heads, rows);
}

function row(cells, kind) {
  const [head, ...others] = cells;
  return element("tr", { class: kind }, element("th", { scope: "row" }, head), ...others.map((one) => element("td", {}, one)));
}

function fill(table, heads, rows) {
  const head = element("tr", {}, ...heads.map((name) => (name ? element("th", { scope: "col" }, name) : element("td", {}))));
  table.replaceChildren(element("thead", {}, head), element("tbody", {}, ...rows));
}

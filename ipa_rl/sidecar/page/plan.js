// What a planner expected of the load, and what it weighed against its choice.

import { element, number, shape, text } from "./words.js";

const WIDTH = 420;
const HEIGHT = 150;
const MARGIN = { top: 10, right: 12, bottom: 22, left: 44 };

export function drawPlan(last) {
  const plan = last && last.plan;
  document.getElementById("plan-card").hidden = !plan;
  if (!plan) return;
  text("plan-text", `It ${plan.told}. It weighed ${plan.candidates} candidates.`);
  const others = plan.runners_up.map((one) => element("li", {}, one.told));
  document.getElementById("plan-others").replaceChildren(...others);
  document.getElementById("plan-fan").replaceChildren(drawing(plan.fan));
  const at = plan.fan.until_s.map((untilS, k) =>
    `until ${seconds(untilS)}: ${number(plan.fan.median_rps[k])} (${number(plan.fan.low_rps[k])} to ${number(plan.fan.high_rps[k])})`);
  text("plan-loads", `Load to come, requests/s, median and 10 to 90 %; ${at.join(", ")}`);
}

// Each figure is the mean of a stretch of time, drawn in its middle.
function drawing({ until_s: untilS, low_rps: low, median_rps: median, high_rps: high }) {
  const top = Math.max(...high, 1e-9);
  const end = untilS[untilS.length - 1];
  const x = (k) => MARGIN.left + (((k ? untilS[k - 1] : 0) + untilS[k]) / 2 / end) * (WIDTH - MARGIN.left - MARGIN.right);
  const y = (value) => HEIGHT - MARGIN.bottom - (value / top) * (HEIGHT - MARGIN.top - MARGIN.bottom);
  const points = (values) => values.map((value, k) => `${x(k).toFixed(1)} ${y(value).toFixed(1)}`);
  const grid = [0, top / 2, top].flatMap((value) => [
    shape("line", { class: "grid", x1: MARGIN.left, x2: WIDTH - MARGIN.right, y1: y(value), y2: y(value) }),
    shape("text", { class: "tick", x: MARGIN.left - 6, y: y(value) + 4, "text-anchor": "end" }, number(value, top < 10 ? 2 : 0)),
  ]);
  const times = untilS.map((until, k) =>
    shape("text", { class: "tick", x: x(k), y: HEIGHT - 6, "text-anchor": "middle" }, `≤ ${seconds(until)}`));
  return shape("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, "aria-hidden": "true" }, ...grid, ...times,
    shape("path", { class: "fan", d: `M${points(low).join("L")}L${points(high).reverse().join("L")}Z` }),
    shape("path", { class: "line first", d: `M${points(median).join("L")}` }));
}

function seconds(value) {
  return value < 120 ? `${number(value, 0)} s` : `${number(value / 60, value < 600 ? 1 : 0)} min`;
}

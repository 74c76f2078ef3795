// What is out of the ordinary, in words.

import { ago, clock, element, moment } from "./words.js";

const FAILED = {
  cluster: "The cluster does not answer",
  undecided: "Nobody could decide",
  internal: "The step failed because of a fault in the controller",
};
let before = "";

// The word on the chip, and its key for the colour.
export function state({ now, hour, lostAt }) {
  if (lostAt) return ["lost", "no connection"];
  if (!hour || (!hour.last && !hour.failed)) return ["unknown", "no step yet"];
  if (hour.failed) return ["failed", "step failed"];
  const { last } = hour;
  if (inForce(now.order, "pause") || last.paused) return ["paused", "paused"];
  if (inForce(now.order, "hold")) return ["paused", "held"];
  if (!last.leader) return ["watching", "not the leader"];
  if (last.mode !== "act") return ["watching", "shadow mode"];
  if (last.stale) return ["failed", "loads stale"];
  if (last.by === "held") return ["paused", "holding"];
  return last.acted ? ["acting", "acting"] : ["watching", "not acting"];
}

export function inForce(order, wish) {
  return order !== null && order.wish === wish;
}

export function showNotices(shown, ageS) {
  const found = notices(shown, ageS);
  const now = JSON.stringify(found);
  if (now === before) return; // nothing new to read out
  before = now;
  const made = found.map(([level, words]) => element("p", { class: "notice", "data-level": level }, words));
  document.getElementById("notices").replaceChildren(...made);
}

function notices({ now, hour, lostAt }, ageS) {
  const found = [];
  if (lostAt) {
    const since = `The sidecar has not answered since ${clock(lostAt)}.`;
    found.push(["bad", `${since} ${hour ? "The page shows what was known then, and" : "The page"} keeps asking.`]);
  }
  if (!hour) return found;
  const { about, failed, last } = hour;
  if (!failed && !last) found.push(["info", "No step has been made yet. The first is under way."]);
  if (!lostAt && ageS > Math.max(3 * about.interval_s, 60)) {
    found.push(["bad", `The loop is stuck: its last step was ${ago(ageS)}.`]);
  }
  if (failed) {
    const what = FAILED[failed.failed] ?? "The step failed";
    found.push(["bad", `${what}: ${failed.problem}. The cluster keeps what it has; the next step tries again.`]);
  }
  if (now.order) found.push(...ordered(now.order));
  return last ? [...found, ...seen(last)] : found;
}

function ordered(order) {
  const who = `by ${order.by} at ${moment(order.at)}`;
  if (order.wish === "pause") return [["warn", `Paused on the dashboard ${who}: nothing is written until somebody resumes.`]];
  if (order.wish === "hold") return [["warn", `Held on the dashboard ${who}: the last decision stays until somebody resumes.`]];
  return [];
}

function seen(last) {
  const found = [];
  if (!last.leader) found.push(["info", `This copy does not lead${leader(last)}. Only the leader acts; this one watches.`]);
  if (last.mode !== "act") found.push(["info", `Shadow mode (${last.mode_reason}): nothing is written. What the agent would do is shown, and simulated.`]);
  if (last.stale) found.push(["bad", `Loads are stale: ${last.load_problem || "they are missing"}. They are not read as no load: ${last.fallback || "the last good configuration stays"}.`]);
  if (!last.stale && last.load_problem) found.push(["held", `A load is doubtful and not acted on: ${last.load_problem}.`]);
  if (last.paused) found.push(["warn", "Paused by the annotation on an object of the pipeline."]);
  if (last.why_not.startsWith("switched off")) found.push(["warn", `The pipeline is left alone: ${last.why_not}.`]);
  found.push(...last.overdue.map((one) => ["bad", `Not ready in time: ${one.told}`]));
  found.push(...last.given_up.map((one) => ["warn", `Given up: ${one.told}`]));
  found.push(...last.refused.map((reason) => ["bad", `Refused: ${reason}`]));
  found.push(...last.problems.map((problem) => ["bad", problem]));
  found.push(...last.stages.filter((one) => one.problem).map((one) => ["bad", `${one.stage}: ${one.problem}`]));
  return found;
}

function leader(last) {
  return last.why_not.endsWith(" leads") ? `: ${last.why_not}` : "";
}

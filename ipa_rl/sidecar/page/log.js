// The decision log, newest first.

import { element, moment } from "./words.js";

const news = document.getElementById("news");
let rows = [];

export function drawLog(log) {
  rows = log;
  draw();
}

function draw() {
  const kept = news.checked ? rows.filter(isNews) : rows;
  const none = element("li", { class: "soft" }, rows.length ? "no changes and no problems" : "nothing yet");
  document.getElementById("log").replaceChildren(...(kept.length ? kept.map(line) : [none]));
}

function isNews(row) {
  return row.failed || row.changes.length || row.waiting.length || row.refused.length || row.guard.length || row.by === "held";
}

function line(row) {
  return element("li", { "data-kind": kind(row) },
    element("p", { class: "when" }, element("time", { datetime: row.until }, moment(row.until)), span(row)),
    element("p", { class: "badge" }, row.failed ? "failed" : row.by),
    element("div", { class: "what" }, ...what(row), element("p", { class: "soft" }, row.reason)));
}

function kind(row) {
  if (row.failed || row.refused.length) return "bad";
  if (row.by === "held") return "held";
  return row.acted && row.changes.length ? "changed" : "quiet";
}

function span(row) {
  if (row.count === 1) return element("span", { class: "soft" }, row.failed ? "" : `step ${row.step}`);
  return element("span", { class: "soft" }, `${row.count} steps, since ${moment(row.since)}`);
}

function what(row) {
  if (row.failed) return [element("p", {}, "the step failed")];
  const changes = row.changes.map((one) => change(one, row.acted ? "" : "would: "));
  const found = [
    ...changes,
    ...row.waiting.map((one) => change(one, "waits: ")),
    ...row.refused.map((reason) => element("p", { class: "trouble" }, `refused: ${reason}`)),
  ];
  if (!found.length) found.push(element("p", { class: "soft" }, "nothing differs"));
  if (row.why_not && !row.reason.includes(row.why_not)) found.push(element("p", { class: "soft" }, `not done: ${row.why_not}`));
  return found;
}

function change({ stage, knob, before, after }, how) {
  return element("p", {}, how, element("b", {}, stage), `: ${knob} ${before} → `, element("b", {}, after));
}

news.addEventListener("change", draw);

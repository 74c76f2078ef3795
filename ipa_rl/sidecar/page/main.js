// Asks the sidecar for news, keeps the last answer, and has it drawn.

import { drawCharts } from "./charts.js";
import { showOrder, onPressed } from "./controls.js";
import { drawLog } from "./log.js";
import { showNotices, state } from "./notices.js";
import { drawPlan } from "./plan.js";
import { drawPipeline, drawProgram, drawContenders, drawTiles } from "./pipeline.js";
import { ago, clock, number, text } from "./words.js";

const PATIENCE_MS = 5000;
const shown = { now: null, hour: null, lostAt: null, offsetMs: 0 };

function pollMs() {
  const intervalS = shown.hour ? shown.hour.about.interval_s : 2;
  return Math.min(Math.max(500 * intervalS, 250), 2000);
}

async function ask() {
  const have = shown.now ? shown.now.tag : "";
  const answer = await fetch(`data?have=${encodeURIComponent(have)}`, { signal: AbortSignal.timeout(PATIENCE_MS) });
  if (!answer.ok) throw new Error(`status ${answer.status}`);
  return answer.json();
}

async function poll() {
  const answer = await ask().catch(() => null);
  if (answer === null) shown.lostAt ??= Date.now();
  else take(answer);
  drawNow();
}

function take({ now, hour }) {
  shown.lostAt = null;
  shown.now = now;
  shown.offsetMs = now.time_ms - Date.now();
  if (hour === null) return;
  shown.hour = hour;
  drawHour(hour);
}

function drawHour(hour) {
  const { about, last } = hour;
  document.title = `${about.environment} - ipa-rl`;
  text("environment", about.environment);
  text("facts", `agent ${about.agent} · a step every ${Number(about.interval_s.toPrecision(3))} s · SLA ${number(about.sla_s, 2)} s · version ${about.version}`);
  drawTiles(hour);
  drawPipeline(about, last);
  drawCharts(hour);
  text("forecasts", forecasts(last));
  drawPlan(last);
  drawProgram(last);
  drawContenders(hour);
  drawLog(hour.log);
}

function forecasts(last) {
  const by = last && last.forecasts;
  if (!by) return "";
  const errors = by.compared
    ? ` In the last hour they were off by ${number(by.mae_rps, 2)} requests/s on average, ${number(100 * by.too_low, 0)} % of them too low.`
    : "";
  return `Forecasts: ${by.told}.${errors}`;
}

function drawNow() {
  const { now, hour, lostAt, offsetMs } = shown;
  const last = hour && (hour.failed || hour.last);
  const ageS = last ? (Date.now() + offsetMs - Date.parse(last.time)) / 1000 : null;
  showNotices(shown, ageS);
  const [key, words] = state(shown);
  const chip = document.getElementById("state");
  chip.dataset.state = key;
  chip.textContent = words;
  text("age", last ? `${hour.last ? `step ${hour.last.step}` : "no good step"}, ${ago(ageS)}` : "");
  document.body.dataset.connection = lostAt ? "lost" : "ok";
  if (now) showOrder(now, lostAt !== null);
  if (lostAt) text("age", `last seen ${clock(lostAt)}`);
}

async function forever() {
  try {
    if (!document.hidden) await poll();
  } finally {
    setTimeout(forever, pollMs());
  }
}

onPressed(poll);
document.addEventListener("visibilitychange", () => document.hidden || poll());
window.addEventListener("resize", () => shown.hour && drawCharts(shown.hour));
forever();

// The buttons: pause, hold, resume. The token stays in this page's memory and goes out in a header only.

import { inForce } from "./notices.js";
import { moment, text } from "./words.js";

const MEANING = {
  pause: ["Pause", "From now on nothing is written; the sidecar keeps watching and comparing."],
  hold: ["Hold", "The last decision stays, and is applied again at every step; nobody decides."],
  resume: ["Resume", "The agent decides again, from the next step on."],
};
const DONE = { pause: "paused", hold: "held", resume: "resumed" };
const dialog = document.getElementById("press");
const problem = document.getElementById("press-problem");
let wish = "pause";
let pressed = () => {};

export function onPressed(callback) {
  pressed = callback;
}

export function showOrder(now, lost) {
  const { order } = now;
  document.getElementById("buttons").hidden = !now.buttons;
  const free = !inForce(order, "pause") && !inForce(order, "hold");
  for (const button of document.querySelectorAll("#buttons button")) {
    const { order: name } = button.dataset;
    button.setAttribute("aria-pressed", String(name !== "resume" && inForce(order, name)));
    button.disabled = lost || (name === "resume" ? free : inForce(order, name));
  }
  const told = order ? `${DONE[order.wish]} by ${order.by} at ${moment(order.at)}` : "";
  text("ordered", now.buttons ? told : "read-only: no token is set");
}

function open(name) {
  wish = name;
  text("press-title", `${MEANING[wish][0]} the controller?`);
  text("press-text", MEANING[wish][1]);
  text("press-go", MEANING[wish][0]);
  complain("");
  dialog.showModal();
  const empty = ["press-name", "press-token"].map((id) => document.getElementById(id)).find((one) => !one.value);
  (empty ?? document.getElementById("press-go")).focus();
}

function complain(words) {
  problem.hidden = !words;
  problem.textContent = words;
}

async function send() {
  const answer = await fetch("order", {
    method: "POST",
    headers: {
      "Content-Type": "application/json",
      Authorization: `Bearer ${document.getElementById("press-token").value.trim()}`,
    },
    body: JSON.stringify({ order: wish, by: document.getElementById("press-name").value.trim() }),
  });
  if (answer.ok) return "";
  const said = await answer.json();
  return answer.status === 401 ? "The token is wrong. Nothing was changed." : `Nothing was changed: ${said.problem}.`;
}

async function submit(event) {
  event.preventDefault();
  const go = document.getElementById("press-go");
  go.disabled = true;
  try {
    const refused = await send();
    complain(refused);
    if (!refused) {
      dialog.close();
      await pressed();
    }
  } catch {
    complain("The sidecar does not answer, or the token contains characters that no token can have.");
  } finally {
    go.disabled = false;
  }
}

for (const button of document.querySelectorAll("#buttons button")) {
  button.title = MEANING[button.dataset.order][1];
  button.addEventListener("click", () => open(button.dataset.order));
}
document.getElementById("press-cancel").addEventListener("click", () => dialog.close());
document.getElementById("press-form").addEventListener("submit", submit);

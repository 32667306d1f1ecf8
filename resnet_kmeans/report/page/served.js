/** A page that is served: each correction is carried out at once, one after the other. */

import { base, count, load, log, number, replay } from "./album.js";
import { start } from "./main.js";
import { $, announce, page } from "./page.js";

const LOOK = 2000; // milliseconds between looks whether another window has changed something
const PATIENCE = 400; // milliseconds until the progress of a step is shown
const GONE = "The server does not answer: it was closed, or the command was stopped. Start it again with resnet-kmeans open.";
let isBusy = false, sent = 0, hasEnded = false;

/** @param {string} what @param {object} [asked] */
async function request(what, asked) {
  const options = asked && { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(asked) };
  const response = await fetch(what, options).catch(() => { throw new Error(GONE); });
  if (response.status === 204) return null;
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) throw new Error(answer.error ?? `The server answered ${response.status}.`);
  return answer;
}

/** Send the steps of the log, those that only move images together. */
async function flush() {
  if (isBusy) return;
  isBusy = true;
  const watching = setInterval(watch, PATIENCE);
  while (log.length) {
    const moves = log.findIndex((step) => !step.moves);
    sent = moves === 0 ? 1 : moves < 0 ? log.length : moves;
    const step = log[0].moves ? { moves: log.slice(0, sent).flatMap((each) => each.moves) } : log[0];
    try {
      const { album, said } = await request("steps", { ...step, known: base.export.state });
      log.splice(0, sent);
      if (said) announce(said);
      showAlbum(album);
    } catch (error) {
      const rest = log.splice(0).length - sent;
      announce(/** @type {Error} */ (error).message + (rest ? ` ${count(rest, "later correction")} not made either.` : ""));
      await request("album").then(({ album }) => showAlbum(album)).catch(() => { replay(); page.render(); });
    }
    sent = 0;
  }
  clearInterval(watching);
  $("working").hidden = true;
  isBusy = false;
}

async function watch() {
  const { done, total, isStoppable } = await request("progress").catch(() => ({}));
  $("working").hidden = !total;
  $("stop").hidden = !isStoppable;
  if (total) $("done").textContent = `${number(done)} of ${count(total)}`;
}

/** @param {any} album */
function showAlbum(album) {
  load(album);
  page.render();
  renderHistory();
}

function renderHistory() {
  const { undo, redo, steps, interrupted, reason } = base.export;
  for (const [id, what] of [["undo", undo], ["redo", redo]]) {
    $(id).disabled = !what;
    $(id).title = what ? `${id === "undo" ? "Undo" : "Redo"}: ${what}` : reason;
  }
  $("steps").replaceChildren(...steps.map((/** @type {string} */ line) => Object.assign(document.createElement("li"), { textContent: line })));
  $("interrupted").hidden = !interrupted;
}

/** @param {string} name */
const command = (name) => { log.push({ do: name }); flush(); };

async function look() {
  if (document.hidden || isBusy || hasEnded) return;
  try {
    const found = await request(`album?known=${encodeURIComponent(base.export.state)}`);
    if (found && !isBusy) showAlbum(found.album);
    $("gone").hidden = true;
  } catch (error) {
    $("gone").hidden = false;
    $("gone").textContent = /** @type {Error} */ (error).message;
  }
}

start({
  thumbnail: (id) => `thumbnails/${id}`,
  original: (id) => `images/${id}`,
  record(step, said) {
    log.push(step);
    flush(); // the server begins while the page is drawn
    replay();
    page.render();
    announce(said);
  },
  undo() {
    if (log.length <= sent) return command("undo");
    log.pop();
    replay();
    page.render();
    announce("Undone.");
  },
  redo: () => command("redo"),
  points: () => request("map"),
});
renderHistory();
history.replaceState(null, "", "/"); // without the token
setInterval(look, LOOK);
addEventListener("focus", look);
for (const name of ["finish", "back"]) $(name).addEventListener("click", () => command(name === "back" ? "undo" : name));
$("stop").addEventListener("click", () => request("stop", {}));
$("quit").addEventListener("click", async () => {
  await request("quit", {});
  hasEnded = true;
  $("gone").hidden = false;
  $("gone").textContent = "Closed. Everything is in the folders; this window can be closed too.";
});

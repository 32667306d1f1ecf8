/** A page in a file: corrections are saved as curation.json, for `resnet-kmeans apply`. */

import { ASIDE, base, log, replay, state } from "./album.js";
import { start } from "./main.js";
import { $, announce, page } from "./page.js";

/** @type {typeof log} */
const undone = [];
let saved = "", isKept = true, storageKey = "";

/** What the steps come to, as the command applies it: names first, then moves. */
function curation() {
  const folderOf = (/** @type {number} */ label) => state.clusters.get(label).folder;
  const names = base.clusters.filter((/** @type {any} */ { label }) => label >= 0).map((/** @type {any} */ { label, folder }) => [folder, folderOf(state.now.get(label))]);
  const moved = base.id.flatMap((/** @type {number} */ _, /** @type {number} */ at) => {
    const isMoved = state.label[at] !== state.now.get(base.label[at]), isConfirmed = state.confirmed[at] > base.confirmed[at];
    return isMoved || isConfirmed ? [[base.path[at], state.label[at] === ASIDE ? null : folderOf(state.label[at])]] : [];
  });
  return {
    format: 1,
    export: base.export.id,
    revision: base.export.revision,
    // fromEntries, since a folder may be called __proto__
    names: Object.fromEntries(names.filter((/** @type {string[]} */ [folder, name]) => name !== folder)),
    moves: Object.fromEntries(moved),
  };
}

function renderMailed() {
  replay();
  page.render();
  $("undo").disabled = !log.length;
  $("redo").disabled = !undone.length;
  $("save").disabled = !log.length;
  $("apply").hidden = !saved || saved !== savedText();
  try {
    if (log.length) localStorage.setItem(storageKey, JSON.stringify({ state: base.export.state, log, saved }));
    else localStorage.removeItem(storageKey);
    isKept = true;
  } catch {
    isKept = false;
  }
}
const savedText = () => base.export && log.length ? `${JSON.stringify(curation(), null, 1)}\n` : "";

/** Take up the corrections of the last visit, if the folders are still the same. */
function restore() {
  try {
    const found = JSON.parse(localStorage.getItem(storageKey));
    if (!found?.log.length) return;
    if (found.state !== base.export.state) {
      if (!found.saved) announce("The folders have changed since your last corrections, which were discarded.");
      return;
    }
    log.push(...found.log);
    replay();
    saved = found.saved;
    announce("Your corrections to this export were restored.");
  } catch {
    log.length = 0; // what another page has stored
    replay();
  }
}

function save() {
  saved = savedText();
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([saved], { type: "application/json" }));
  link.download = "curation.json";
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
  renderMailed();
  $("apply").scrollIntoView({ block: "nearest" });
  announce("Changes saved as curation.json.");
}

/** @param {boolean} isRedo @param {import("./album.js").Step[]} from @param {import("./album.js").Step[]} to */
function goThrough(isRedo, from, to) {
  if (!from.length) return announce(`Nothing to ${isRedo ? "redo" : "undo"}.`);
  to.push(from.pop());
  renderMailed();
  announce(isRedo ? "Redone." : "Undone.");
}

start({
  thumbnail: (id) => base.thumbnails[id] ?? "",
  original: (id) => base.links[id] ?? "",
  record(made, said) {
    log.push(made);
    undone.length = 0;
    renderMailed();
    announce(`${said}. ${isKept ? "Not saved yet." : "This browser cannot store your corrections: save them before you leave the page."}`);
  },
  undo: () => goThrough(false, log, undone),
  redo: () => goThrough(true, undone, log),
  points: () => Promise.resolve(base.points),
});
if (base.export) {
  // All pages in files may share one storage, so the key contains the export's id.
  storageKey = `resnet-kmeans ${base.export.id}`;
  restore();
  renderMailed();
  $("save").addEventListener("click", save);
  addEventListener("beforeunload", (event) => { if (savedText() && saved !== savedText()) event.preventDefault(); });
}

/** One image, large, with what is known about it and pictures of the clusters it may belong to. */

import { base, clusterAt, count, DOUBTFUL, isMovable, positionOf, state, suggestedAt, sum } from "./album.js";
import { focusImage, order } from "./grid.js";
import { $, page } from "./page.js";
import { KEYS, perform } from "./selection.js";

const COMPARED = 4; // pictures of each of the two clusters

/** @type {number | null} */
let shown = null;
export const isOpen = () => $("detail").open;
export const closeDetail = () => $("detail").close();

/** @param {number} id */
export function show(id) {
  const at = positionOf(id), large = $("large"), link = page.way.original(id);
  if (at === undefined) return;
  page.focused = shown = id;
  large.src = page.way.thumbnail(id) || "data:,";
  large.alt = base.name[at];
  if (link) {
    // The thumbnail stays if the original is missing, or in a format that browsers cannot show.
    const original = new Image();
    original.onload = () => { if (page.focused === id) large.src = original.src; };
    original.src = link;
  }
  $("detail-name").textContent = base.name[at];
  $("detail-link").hidden = !link;
  $("detail-link").href = link || "#";
  compare(at);
  if (!isOpen()) $("detail").showModal();
}

/** Show pictures of the cluster of an image, and of the one that would rather have it. @param {number} at */
function compare(at) {
  const own = clusterAt(at), other = suggestedAt(at), doubt = state.doubt[at];
  for (const [id, cluster, words] of /** @type {const} */ ([["own", own, "In"], ["other", other, doubt > DOUBTFUL ? "Rather in" : "Or in"]])) {
    const part = $(`detail-${id}`);
    part.hidden = !cluster;
    if (!cluster) continue;
    part.querySelector("strong").textContent = `${words} ${cluster.name}`;
    part.querySelector("small").textContent = count(sum(cluster.label).size) + (id === "own" && doubt >= 10 ? ` · doubt ${(doubt / 1000).toFixed(2)}` : "");
    const typical = [...state.label.keys()].filter((each) => state.label[each] === cluster.label && each !== at).slice(0, COMPARED);
    part.querySelector("span").replaceChildren(...typical.map((each) => Object.assign(new Image(), { src: page.way.thumbnail(base.id[each]), alt: "" })));
  }
  for (const button of $("detail").querySelectorAll("[data-act]")) {
    const needs = /** @type {Record<string, boolean>} */ ({ accept: !!other, confirm: own.label >= 0 });
    button.hidden = !isMovable(at) || needs[button.dataset.act] === false;
  }
}

/** @param {number} by */
function stepBy(by) {
  const next = order[order.indexOf(page.focused) + by];
  if (next !== undefined) show(next);
}

export function startDetail() {
  $("next").addEventListener("click", () => stepBy(1));
  $("previous").addEventListener("click", () => stepBy(-1));
  $("close").addEventListener("click", closeDetail);
  $("detail").addEventListener("click", (/** @type {MouseEvent} */ event) => {
    const button = /** @type {HTMLElement} */ (event.target).closest("[data-act]");
    if (event.target === $("detail") && event.detail < 2) closeDetail();
    if (button && event.detail < 2) perform(/** @type {HTMLElement} */ (button).dataset.act);
  });
  $("detail").addEventListener("close", () => { if (shown !== null) focusImage(shown); });
  $("detail").addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => {
    const act = event.ctrlKey || event.metaKey || event.altKey ? "" : KEYS[event.key], way = /** @type {Record<string, number>} */ ({ ArrowRight: 1, ArrowLeft: -1 })[event.key];
    if (way) stepBy(way);
    else if (base.export && ["accept", "confirm", "move", "aside", "undo"].includes(act)) perform(act);
    else return;
    event.preventDefault();
    event.stopPropagation();
  });
}

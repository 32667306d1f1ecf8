/** Starts the page and shows its state. */

import { ASIDE, base, count, load, NOISE, number, state, sum, totals } from "./album.js";
import { startChoosing } from "./choose.js";
import { isOpen, show, startDetail } from "./detail.js";
import { breakable, focusImage, layOut, order, paint, renderGrid, showAll, view } from "./grid.js";
import { drawMap, startMap } from "./map.js";
import { $, hueOf, page } from "./page.js";
import { click, perform, picked, press, renderSelection } from "./selection.js";

/** @param {import("./page.js").Way} way */
export function start(way) {
  Object.assign(page, { way, render });
  load(JSON.parse($("album").textContent));
  document.documentElement.classList.toggle("correctable", !!base.export);
  startChoosing();
  startDetail();
  startMap();
  listen();
  render();
}

function render() {
  const sums = totals();
  renderHead(sums);
  renderIndex();
  renderGrid();
  renderSelection();
  drawMap();
  if (isOpen()) show(page.focused);
  const { text, isDoubtful } = view, found = order.length;
  const keys = base.export ? " · y moves, c keeps, v asks" : "", isRest = isDoubtful && found && !sums.doubtful;
  $("count").textContent = isDoubtful ? `${number(found)} ${isRest ? "to check next" : "doubtful"}${keys}` : text ? `${number(found)} shown` : "";
  $("none").hidden = found > 0;
  $("none").textContent = text ? "No name matches." : "No image is doubtful.";
}

/** @param {ReturnType<typeof totals>} sums */
function renderHead({ placed, clusters, doubtful, looked, wrong }) {
  const aside = sum(ASIDE).size ? `, ${number(sum(ASIDE).size)} set aside` : "", n = Math.max(Math.round(wrong), doubtful);
  const unsure = n ? `; about ${number(n)} may be in the wrong one` : "";
  $("title").textContent = `${count(placed)} in ${count(clusters, "cluster")}${aside}${unsure}`;
  document.title = `${count(placed)} in ${count(clusters, "cluster")}`;
  $("unsure-count").textContent = `(${number(doubtful)})`;
  const isKnown = base.hidden.wrong + base.doubt.filter((/** @type {number} */ each) => each >= 0).length > 0;
  $("review").hidden = !isKnown || !base.export;
  $("unsure").closest("label").hidden = !isKnown;
  $("looked").max = placed;
  $("looked").value = looked;
  $("expected").textContent = `${number(looked)} of ${number(placed)} checked` + (doubtful ? `; ${number(doubtful)} ${doubtful === 1 ? "is" : "are"} doubtful: likelier wrong than right` : "");
  for (const button of $("tools").querySelectorAll("[data-act]")) button.hidden = !base.export;
}

function renderIndex() {
  /** @type {Map<number, number>} the first image of each cluster */
  const first = new Map();
  state.label.forEach((label, at) => { if (!first.has(label)) first.set(label, at); });
  const wanted = [...state.clusters.values()].filter(({ label }) => label >= 0 || sum(label).size);
  $("index").replaceChildren(...wanted.map(({ label, name }) => {
    const node = $("new-entry").content.firstElementChild.cloneNode(true);
    const link = node.querySelector("a"), image = node.querySelector("img"), { size, doubtful } = sum(label);
    link.dataset.label = String(label);
    link.href = `#cluster-${label}`;
    node.style.setProperty("--color", hueOf(label));
    image.src = (first.has(label) && page.way.thumbnail(base.id[first.get(label)])) || "data:,";
    node.querySelector(".name").textContent = breakable(name);
    node.querySelector("small").textContent = count(size) + (doubtful && label > NOISE ? ` · ${number(doubtful)} doubtful` : "");
    return node;
  }));
}

/** @param {number} label */
function goToCluster(label) {
  if (view.text || view.isDoubtful) showAll();
  const section = $(`cluster-${label}`);
  section.scrollIntoView({ behavior: "instant" });
  section.focus({ preventScroll: true });
}

function listen() {
  let waits = false;
  addEventListener("scroll", () => {
    if (!waits) requestAnimationFrame(() => { waits = false; paint(); });
    waits = true;
  }, { passive: true });
  new ResizeObserver(layOut).observe($("clusters").parentElement);
  $("tools").addEventListener("submit", (/** @type {Event} */ event) => event.preventDefault());
  $("filter").addEventListener("input", () => { view.text = $("filter").value.trim().toLowerCase(); render(); });
  $("unsure").addEventListener("change", () => {
    view.isDoubtful = $("unsure").checked;
    picked.clear();
    render();
    const bottom = $("clusters").getBoundingClientRect().top;
    if (bottom < 0) $("clusters").scrollIntoView({ behavior: "instant" });
    if (view.isDoubtful && order.length) focusImage(order[0]);
  });
  $("size").value = parseInt(getComputedStyle(document.documentElement).getPropertyValue("--size"));
  $("size").addEventListener("input", () => { document.documentElement.style.setProperty("--size", `${$("size").value}px`); layOut(); });
  $("index").addEventListener("click", (/** @type {MouseEvent} */ event) => {
    const link = /** @type {HTMLElement} */ (event.target).closest("a");
    if (link) { event.preventDefault(); goToCluster(+link.dataset.label); }
  });
  $("clusters").addEventListener("click", click);
  $("clusters").addEventListener("dblclick", (/** @type {MouseEvent} */ event) => {
    if (/** @type {Element} */ (event.target).closest("[data-id]") && !event.shiftKey) { picked.delete(page.focused); render(); show(page.focused); }
  });
  document.addEventListener("click", (event) => {
    const button = /** @type {HTMLElement} */ (event.target).closest("[data-act]");
    if (button && !button.closest("dialog")) perform(/** @type {HTMLElement} */ (button).dataset.act, button);
  });
  document.addEventListener("focusin", (event) => {
    const tile = /** @type {HTMLElement} */ (event.target).closest?.("[data-id]");
    if (tile) page.focused = +(/** @type {HTMLElement} */ (tile).dataset.id);
  });
  document.addEventListener("keydown", (event) => {
    const target = /** @type {Element} */ (event.target);
    if (document.querySelector("dialog[open]") || target.closest?.("input:not([type=checkbox]), canvas, textarea")) return;
    if (press(event)) event.preventDefault();
  });
}


/** The images in sections. Only those in view, or nearly, are part of the document. */

import { base, clusterAt, count, DOUBTFUL, number, positionOf, state, suggestedAt, sum } from "./album.js";
import { $, hueOf, page } from "./page.js";
import { picked } from "./selection.js";

/**
 * @typedef {{key: string, label: number, images: number[], isQuestion: boolean}} Section
 * A cluster, or images that its folder might get; `images` are positions in the album.
 */

const GAP = 6;
const MARGIN = 800; // pixels above and below the window in which images are there already
const NEXT = 24; // images to look at once none is doubtful
export const view = { text: "", isDoubtful: false };
/** @type {Map<number, HTMLElement>} */
const tiles = new Map();
/** @type {(Section & {node: HTMLElement, list: HTMLElement, top: number})[]} */
let laid = [];
/** @type {number[]} */
export let order = []; // ids in the order of the view
let columns = 1, cell = 1;

/** @param {number} at */
const matches = (at) => base.name[at].toLowerCase().includes(view.text);

/** @returns {Section[]} */
function sections() {
  /** @type {Map<number, number[]>} */
  const groups = new Map();
  if (view.isDoubtful) {
    for (const at of doubtful()) {
      const { label } = suggestedAt(at);
      if (!groups.has(label)) groups.set(label, []);
      groups.get(label).push(at);
    }
    return [...groups].map(([label, images]) => ({ key: `rather-${label}`, label, images, isQuestion: true }));
  }
  for (const label of state.clusters.keys()) groups.set(label, []);
  state.label.forEach((label, at) => { if (matches(at)) groups.get(label).push(at); });
  const found = [...groups].filter(([label, images]) => images.length || (!view.text && label >= 0));
  found.sort(([one], [other]) => +(one < 0) - +(other < 0));
  return found.map(([label, images]) => ({ key: `cluster-${label}`, label, images, isQuestion: false }));
}

/** The images that nobody looked at, the most doubtful first. */
function doubtful() {
  const open = [...state.doubt.keys()].filter((at) => state.doubt[at] > 0 && !state.confirmed[at] && suggestedAt(at) && matches(at));
  open.sort((one, other) => state.doubt[other] - state.doubt[one]);
  const found = open.filter((at) => state.doubt[at] > DOUBTFUL);
  return found.length ? found : open.slice(0, NEXT);
}

/** Build the sections anew, keeping those that are there. */
export function renderGrid() {
  const home = $("clusters"), hadFocus = home.contains(document.activeElement), before = order.indexOf(page.focused);
  const known = new Map(laid.map((section) => [section.key, section.node]));
  laid = sections().map((section) => {
    const node = known.get(section.key) ?? createSection(section);
    known.delete(section.key);
    writeSection(node, section);
    return { ...section, node, list: node.querySelector("ul"), top: 0 };
  });
  for (const node of known.values()) node.remove();
  laid.forEach(({ node }, i) => { if (home.children[i] !== node) home.insertBefore(node, home.children[i] ?? null); });
  order = laid.flatMap(({ images }) => images.map((at) => base.id[at]));
  layOut();
  if (!hadFocus || !order.length) return;
  // Who answers the worst doubt goes on with the worst one, wherever the others went.
  if (view.isDoubtful && before === 0) focusImage(order[0]);
  else if (!home.contains(document.activeElement)) focusImage(order.includes(page.focused) ? page.focused : order[Math.min(Math.max(before, 0), order.length - 1)]);
}

/** @param {Section} section */
function createSection({ key, label, isQuestion }) {
  const node = $("new-section").content.firstElementChild.cloneNode(true);
  node.id = key;
  node.dataset.label = label;
  for (const button of node.querySelectorAll("button")) {
    const { of } = button.dataset;
    const fits = of === "question" ? isQuestion : of === "cluster" ? label >= 0 && !isQuestion : !isQuestion;
    if (!fits || !base.export || (button.dataset.act === "split" && !base.export.isServed)) button.remove();
  }
  const heading = node.querySelector("h2");
  heading.id = `title-${key}`;
  node.setAttribute("aria-labelledby", heading.id);
  node.querySelector("ul").setAttribute("aria-labelledby", heading.id);
  node.style.setProperty("--color", hueOf(label));
  return node;
}

/** @param {HTMLElement} node @param {Section} section */
function writeSection(node, { label, images, isQuestion }) {
  const { size, doubtful } = sum(label), { name } = state.clusters.get(label);
  node.querySelector(".name").textContent = breakable(isQuestion ? `${images.length === 1 ? "Does this" : "Do these"} belong in ${name}?` : name);
  const unsure = doubtful ? ` · ${doubtful} doubtful` : "", shown = images.length < size && !view.text ? ` · ${number(images.length)} shown` : "";
  const n = images.filter((at) => !picked.has(base.id[at])).length;
  const rest = n < images.length ? `the other ${number(n)}` : n === 1 ? "it" : `all ${number(n)}`;
  const words = { acceptRest: `Yes, move ${rest}`, confirmRest: isQuestion ? `No, keep ${rest} where ${n === 1 ? "it is" : "they are"}` : `Confirm ${rest}` };
  for (const [act, text] of Object.entries(words)) {
    const button = node.querySelector(`[data-act=${act}]`);
    if (button) Object.assign(button, { textContent: text, hidden: n === 0 });
  }
  node.querySelector(".facts").textContent = isQuestion ? count(images.length) : (view.text ? `${number(images.length)} of ` : "") + count(size) + unsure + shown;
}

/** Let long names break at their underscores. @param {string} name */
export const breakable = (name) => name.replaceAll("_", "_\u200b");

/** Compute where everything is; reads the layout once. */
export function layOut() {
  const size = parseInt(getComputedStyle(document.documentElement).getPropertyValue("--size"));
  const width = $("clusters").clientWidth;
  columns = Math.max(1, Math.floor((width + GAP) / (size + GAP)));
  cell = (width + GAP) / columns; // images fill the row
  $("clusters").style.setProperty("--cell", `${cell - GAP}px`);
  for (const { list, images } of laid) list.style.height = `${Math.ceil(images.length / columns) * cell}px`;
  for (const section of laid) section.top = section.list.getBoundingClientRect().top + scrollY;
  paint(true);
}

/** Put the images in view into the document, and take the others out. @param {boolean} [all] */
export function paint(all = false) {
  const top = scrollY - MARGIN, bottom = scrollY + innerHeight + MARGIN;
  /** @type {Map<number, [typeof laid[0], number]>} */
  const wanted = new Map();
  for (const section of laid) {
    const first = Math.max(0, Math.floor((top - section.top) / cell)) * columns;
    const last = Math.min(section.images.length, Math.ceil((bottom - section.top) / cell) * columns);
    for (let i = first; i < last; i++) wanted.set(base.id[section.images[i]], [section, i]);
  }
  for (const [id, tile] of tiles) {
    const there = wanted.get(id);
    if (there?.[0].list === tile.parentNode || (!there && tile === document.activeElement && order.includes(id))) continue;
    tile.remove();
    tile.querySelector("img").removeAttribute("src"); // what is still loading is not needed
    tiles.delete(id);
  }
  /** @type {Element | null} */
  let next = null, list = null;
  for (const [id, [section, i]] of wanted) {
    if (list !== section.list) [list, next] = [section.list, section.list.firstElementChild];
    const known = tiles.get(id), tile = known ?? createTile(id);
    if (all || !known) writeTile(tile, id, i, section);
    if (tile === next) next = tile.nextElementSibling;
    else list.insertBefore(tile, next);
  }
}

/** @param {number} id @returns {HTMLElement} */
function createTile(id) {
  const tile = $("new-image").content.firstElementChild.cloneNode(true), image = tile.querySelector("img");
  tile.dataset.id = id;
  image.addEventListener("error", () => tile.classList.add("missing"));
  image.src = page.way.thumbnail(id) || "data:,";
  tiles.set(id, tile);
  return tile;
}

/** @param {HTMLElement} tile @param {number} id @param {number} i @param {Section} section */
function writeTile(tile, id, i, { images, isQuestion }) {
  const at = positionOf(id), isUnsure = state.doubt[at] > DOUBTFUL, cluster = clusterAt(at);
  const caption = base.added[at] ? "added by hand" : isQuestion ? `in ${cluster.name}` : "";
  tile.style.transform = `translate(${(i % columns) * cell}px, ${Math.floor(i / columns) * cell}px)`;
  tile.classList.toggle("unsure", isUnsure && !isQuestion);
  tile.querySelector(".caption").textContent = tile.classList.contains("missing") ? base.name[at] : caption;
  tile.title = base.name[at];
  tile.setAttribute("aria-label", [base.name[at], caption, isUnsure && "doubtful"].filter(Boolean).join(", "));
  tile.setAttribute("aria-selected", String(picked.has(id)));
  tile.setAttribute("aria-posinset", String(i + 1));
  tile.setAttribute("aria-setsize", String(images.length));
  tile.tabIndex = id === page.focused || (i === 0 && !order.includes(page.focused)) ? 0 : -1;
}

/** Show all images by their clusters. */
export function showAll() {
  $("filter").value = view.text = "";
  $("unsure").checked = view.isDoubtful = false;
  page.render();
}

/** The section and place of an image in the view. @param {number} id */
function findImage(id) {
  const at = positionOf(id);
  for (const section of laid) {
    const i = section.images.indexOf(at);
    if (i >= 0) return { section, i };
  }
  return null;
}

/** The ids in the section of an image, or of an element. @param {number | Element} what */
export function sectionOf(what) {
  const key = what instanceof Element ? what.closest("section")?.id : findImage(what)?.section.key;
  return laid.find((section) => section.key === key);
}

/** Scroll to an image of the view and focus it. @param {number} id */
export function focusImage(id) {
  const found = findImage(id);
  if (!found) return;
  page.focused = id;
  const above = $("tools").offsetHeight + GAP, below = $("bar").offsetHeight + GAP;
  const top = found.section.top + Math.floor(found.i / columns) * cell;
  if (top - above < scrollY) scrollTo({ top: top - above, behavior: "instant" });
  else if (top + cell + below > scrollY + innerHeight) scrollTo({ top: top + cell + below - innerHeight, behavior: "instant" });
  paint(true);
  tiles.get(id)?.focus({ preventScroll: true });
}

/** The image that an arrow key leads to. @param {number} id @param {string} key */
export function neighbor(id, key) {
  if (key === "ArrowLeft" || key === "ArrowRight") return order[order.indexOf(id) + (key === "ArrowLeft" ? -1 : 1)];
  const { section, i } = findImage(id), column = i % columns, down = key === "ArrowDown", filled = laid.filter(({ images }) => images.length);
  const below = down ? i + columns : i - columns;
  if (below >= 0 && below < section.images.length) return base.id[section.images[below]];
  const isLastRow = Math.floor(i / columns) === Math.floor((section.images.length - 1) / columns);
  if (down && !isLastRow) return base.id[section.images.at(-1)];
  const next = filled[filled.indexOf(section) + (down ? 1 : -1)];
  if (!next) return undefined;
  const row = down ? 0 : Math.floor((next.images.length - 1) / columns) * columns;
  return base.id[next.images[Math.min(row + column, next.images.length - 1)]];
}

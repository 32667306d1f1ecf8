/** Images are selected and corrected, by mouse, finger or key. */

import { base, clusterAt, count, isMovable, named, positionOf, state, suggestedAt, sum, targets } from "./album.js";
import { ask } from "./choose.js";
import { closeDetail, isOpen, show } from "./detail.js";
import { focusImage, neighbor, order, sectionOf, view } from "./grid.js";
import { $, announce, page } from "./page.js";

/** @type {Set<number>} */
export const picked = new Set();
/** @type {number | null} */
let anchor = null;

/** @param {number} id @param {boolean} [isRange] */
function pick(id, isRange = false) {
  if (!base.export) return;
  if (!isMovable(positionOf(id))) return announce(`${base.name[positionOf(id)]} was added by hand. Add it to the export with resnet-kmeans add; then it can be moved.`);
  const from = order.indexOf(anchor), at = order.indexOf(id);
  if (isRange && from >= 0) order.slice(Math.min(from, at), Math.max(from, at) + 1).forEach((each) => { if (isMovable(positionOf(each))) picked.add(each); });
  else if (!picked.delete(id)) picked.add(id);
  anchor = id;
  page.render();
  focusImage(id);
}

/** @param {Iterable<number>} ids */
export function select(ids) {
  picked.clear();
  for (const id of ids) if (isMovable(positionOf(id))) picked.add(id);
  page.render();
  announce(`${picked.size} selected`);
}

/** The images that an action concerns: those selected, or the one in focus. */
export function chosen() {
  if (isOpen()) return isMovable(positionOf(page.focused)) ? [page.focused] : [];
  return picked.size ? [...picked] : order.includes(page.focused) && isMovable(positionOf(page.focused)) ? [page.focused] : [];
}

/** Record moves of images, and go on with the next image. @param {[number, string | null][]} moves @param {string} said */
function move(moves, said) {
  if (!moves.length) return announce("Select images first.");
  const gone = new Set(moves.map(([id]) => id)), list = [...order], was = isOpen();
  const from = Math.max(0, list.indexOf(gone.has(page.focused) ? page.focused : moves[0][0]));
  // What follows in the view, or else what came before.
  const rest = [...list.slice(from), ...list.slice(0, from).reverse()].filter((id) => !gone.has(id));
  const isWorst = view.isDoubtful && from === 0;
  page.focused = rest[0] ?? page.focused; // so that the view does not follow what was moved
  for (const id of gone) picked.delete(id);
  page.way.record({ moves }, said);
  const next = isWorst ? order[0] : rest.find((id) => order.includes(id));
  if (was && next === undefined) closeDetail();
  else if (was) show(next);
  else if (next !== undefined) focusImage(next);
}

/** @param {number[]} ids @param {string | null} folder */
function moveTo(ids, folder) {
  const name = folder === null ? "" : named(folder)?.folder ?? folder;
  move(ids.map((id) => [id, folder === null ? null : name]), folder === null ? `${count(ids.length)} set aside` : `${count(ids.length)} moved to ${name}`);
}

/** Take the suggestions for images. @param {number[]} ids */
export function accept(ids) {
  const known = ids.filter((id) => suggestedAt(positionOf(id)));
  const names = new Set(known.map((id) => suggestedAt(positionOf(id)).name));
  move(known.map((id) => [id, suggestedAt(positionOf(id)).folder]), `${count(known.length)} moved to ${[...names].join(", ")}`);
}

/** Say that images are where they belong. @param {number[]} ids */
export function confirm(ids) {
  const inside = ids.filter((id) => state.label[positionOf(id)] >= 0 && !state.confirmed[positionOf(id)]);
  if (ids.length && !inside.length) return announce("Confirmed already.");
  move(inside.map((id) => [id, clusterAt(positionOf(id)).folder]), `${count(inside.length)} confirmed`);
}

function askMove() {
  const ids = chosen();
  if (!ids.length) return announce("Select images first.");
  const first = ids.map((id) => suggestedAt(positionOf(id))).filter(Boolean);
  ask({
    title: ids.length === 1 ? "Where does this image belong?" : `Where do these ${count(ids.length)} belong?`,
    label: "Cluster, or the name of a new one", options: [...new Set([...first, ...targets()])], isNew: true,
    then: (name) => moveTo(ids, name),
  });
}

/** @param {number} label */
function askName(label) {
  const { name, folder } = state.clusters.get(label);
  ask({
    title: `Rename ${name}`, label: "New name", value: folder, options: [], isNew: true,
    note: (typed) => named(typed, label) ? `This merges it with ${named(typed, label).name}.` : "",
    then: (typed) => {
      if (typed === folder) return announce("The name is the same.");
      const other = named(typed, label);
      rename(label, other?.folder ?? typed, other ? `${name} merged into ${other.name}` : `${name} is now ${typed}`);
    },
  });
}

/** Record a name, and go on with the images of the cluster. @param {number} label @param {string} name @param {string} said */
function rename(label, name, said) {
  const first = state.label.indexOf(label);
  page.way.record({ names: [[label, name]] }, said);
  if (first >= 0 && !state.clusters.has(label)) focusImage(base.id[first]);
}

/** @param {number} label */
function askMerge(label) {
  if (targets().length < 2) return announce("There is no other cluster.");
  const { name } = state.clusters.get(label), options = targets().filter((other) => other.label !== label);
  const near = new Map(); // how many images of this cluster would rather be in another
  state.label.forEach((own, at) => { if (own === label) near.set(suggestedAt(at), (near.get(suggestedAt(at)) ?? 0) + 1); });
  options.sort((one, other) => (near.get(other) ?? 0) - (near.get(one) ?? 0));
  ask({
    title: `Merge ${name} into`, label: "Cluster", options, isNew: false,
    then: (into) => rename(label, into, `${name} merged into ${into}`),
  });
}

/** @param {number} label */
function askSplit(label) {
  const { name } = state.clusters.get(label), most = sum(label).size;
  ask({
    title: `Split ${name}`, label: "Number of parts", value: "2", options: [], isNew: true, isNumber: true,
    note: (typed) => /^[0-9]+$/.test(typed) && +typed >= 2 && +typed <= most ? "" : `A whole number from 2 to ${most} is needed.`,
    then: (typed) => page.way.record({ do: "split", label, k: +typed }, `${name} is split into ${typed}`),
  });
}

/** The section that a key or button concerns. @param {Element} [button] */
function sectionNow(button) {
  return sectionOf(button ?? document.activeElement) ?? (page.focused === null ? undefined : sectionOf(page.focused));
}

/** @type {Record<string, (button?: Element) => void>} */
const acts = {
  move: askMove,
  aside: () => moveTo(chosen(), null),
  accept: () => accept(chosen()),
  confirm: () => confirm(chosen()),
  clear: () => { picked.clear(); page.render(); },
  all: (button) => select(idsOf(button)),
  rename: (button) => of(button, askName),
  merge: (button) => of(button, askMerge),
  split: (button) => of(button, askSplit),
  acceptRest: (button) => accept(restOf(button)),
  confirmRest: (button) => confirm(restOf(button)),
  undo: () => page.way.undo(),
  redo: () => page.way.redo(),
  open: () => show(picked.has(page.focused) || !picked.size ? page.focused : [...picked][0]),
};

/** @param {Element} [button] */
function idsOf(button) {
  return (sectionNow(button)?.images ?? []).map((at) => /** @type {number} */ (base.id[at])).filter((id) => isMovable(positionOf(id)));
}

/** @param {Element} [button] */
const restOf = (button) => idsOf(button).filter((id) => !picked.has(id));

/** @param {Element | undefined} button @param {(label: number) => void} act */
function of(button, act) {
  const label = sectionNow(button)?.label ?? -1;
  if (label < 0) announce("Which cluster? Select one of its images first.");
  else act(label);
}

/** @param {string} name @param {Element} [button] */
export function perform(name, button) {
  if (acts[name]) acts[name](button);
}

export const KEYS = /** @type {Record<string, string>} */ ({
  y: "accept", c: "confirm", v: "move", x: "aside", Delete: "aside", a: "all", Escape: "clear", m: "merge", r: "rename", s: "split", u: "undo",
});

/** @param {KeyboardEvent} event @returns {boolean} whether the key did something */
export function press(event) {
  const tile = /** @type {HTMLElement} */ (event.target).closest?.("[data-id]"), control = event.ctrlKey || event.metaKey;
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key, id = tile ? +(/** @type {HTMLElement} */ (tile).dataset.id) : null;
  if (control && base.export && (key === "z" || key === "y")) return perform(key === "y" || event.shiftKey ? "redo" : "undo"), true;
  if (control || event.altKey) return false;
  if (id !== null && key === "Enter") return show(id), true;
  if (id !== null && key === " ") return pick(id, event.shiftKey), true;
  if (id !== null && key.startsWith("Arrow")) {
    const next = neighbor(id, key);
    if (next !== undefined) focusImage(next);
    return true;
  }
  if (key === "d") return $("unsure").click(), true;
  if (key === "/") return $("filter").focus(), true;
  if (key === "?" && $("keys")) return ($("keys").open = true), $("keys").scrollIntoView(), true;
  if (!base.export || !KEYS[key]) return false;
  perform(KEYS[key]);
  return true;
}

/** @param {MouseEvent} event */
export function click(event) {
  const target = /** @type {HTMLElement} */ (event.target), tile = /** @type {HTMLElement} */ (target.closest("[data-id]"));
  if (!tile) return;
  const id = +tile.dataset.id, selects = event.shiftKey || event.ctrlKey || event.metaKey || picked.size || target.closest(".pick");
  page.focused = id;
  if (selects && base.export) pick(id, event.shiftKey);
  else show(id);
}

/** The bar below: what is selected. */
export function renderSelection() {
  for (const id of picked) if (positionOf(id) === undefined) picked.delete(id);
  const hidden = [...picked].filter((id) => !order.includes(id)).length;
  $("picked").textContent = `${count(picked.size)} selected` + (hidden ? `, ${hidden} not in view` : "");
  $("bar").hidden = !picked.size;
  document.documentElement.classList.toggle("picking", picked.size > 0);
}

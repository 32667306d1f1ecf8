/** One dialog for all questions: a name is typed, or a cluster chosen by its picture. */

import { base, compared, count, state, sum } from "./album.js";
import { breakable } from "./grid.js";
import { $, hueOf, page } from "./page.js";

/**
 * @typedef {import("./album.js").Cluster} Cluster
 * @typedef {{title: string, label: string, value?: string, options: Cluster[], isNew: boolean, isNumber?: boolean,
 *   note?: (typed: string) => string, then: (name: string) => void}} Question
 */
/** @type {Question | null} */
let question = null;
/** @type {string[]} names of the choices, in their order */
let offered = [];
let highlighted = 0;

// The same rules for names as in the package, which a page in a file cannot ask.
const DEVICES = /^(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[0-9¹²³])$/;

/** @param {string} name */
function reasonInvalid(name) {
  const bytes = new TextEncoder().encode(name).length;
  const forbidden = [...new Set(name.match(/[<>:"/\\|?*]/g) ?? [])].sort().join(" ");
  if (!name.trim()) return "empty";
  if (name !== name.trim() || name.endsWith(".")) return "it begins or ends with a space, or ends with a dot, which Windows removes";
  if (forbidden) return `Windows or other systems forbid ${forbidden}`;
  if (/[\p{Cc}\p{Cs}\u2028\u2029]/u.test(name)) return "it contains control characters, line breaks or invalid Unicode";
  if (/^[._]/.test(name)) return "a leading dot hides a folder, a leading underscore marks one that is not a cluster";
  if (DEVICES.test(compared(name).split(".")[0].trimEnd())) return "Windows reserves it for a device";
  if (["clusters.csv", "report.html"].includes(compared(name))) return "an export has a file of this name";
  return bytes > 255 ? `${bytes} bytes long, the maximum is 255` : "";
}

/** @param {Question} asked */
export function ask(asked) {
  question = asked;
  $("ask-title").textContent = asked.title;
  $("ask-label").textContent = asked.label;
  $("ask-name").value = asked.value ?? "";
  offer();
  $("ask").showModal();
  $("ask-name").select();
}

const typed = () => $("ask-name").value.trim();

/** List the clusters that fit what was typed; the first one is highlighted. */
function offer() {
  const text = typed().toLowerCase(), { options, isNew, isNumber, note } = question;
  const fits = options.filter(({ name, folder }) => name.toLowerCase().includes(text) || folder.toLowerCase().includes(text));
  const isKnown = options.some(({ folder }) => folder.toLowerCase() === text);
  fits.sort((one, other) => +(other.folder.toLowerCase() === text) - +(one.folder.toLowerCase() === text));
  offered = fits.map(({ folder }) => folder);
  const entries = fits.map((cluster) => entry(cluster.label, cluster.name, count(sum(cluster.label).size)));
  if (isNew && options.length && text && !isKnown) {
    offered.push(typed());
    entries.push(entry(null, `New cluster “${typed()}”`, ""));
  }
  $("ask-list").replaceChildren(...entries);
  $("ask-list").hidden = !entries.length;
  const reason = isNew && !isNumber && text && !fits.length ? reasonInvalid(typed()) : "";
  $("ask-note").textContent = reason ? `“${typed()}” cannot be the name of a folder: ${reason}.` : note?.(typed()) ?? "";
  highlight(0);
}

/** @param {number | null} label @param {string} name @param {string} size */
function entry(label, name, size) {
  const node = $("new-choice").content.firstElementChild.cloneNode(true), image = node.querySelector("img");
  const at = label === null ? -1 : state.label.indexOf(label);
  if (at >= 0) image.src = page.way.thumbnail(base.id[at]) || "data:,";
  else image.style.visibility = "hidden";
  node.style.setProperty("--color", hueOf(label ?? -1));
  node.querySelector(".name").textContent = breakable(name);
  node.querySelector("small").textContent = size;
  return node;
}

/** @param {number} i */
function highlight(i) {
  const entries = [...$("ask-list").children];
  highlighted = entries.length ? (i + entries.length) % entries.length : 0;
  entries.forEach((node, at) => {
    node.id = `choice-${at}`;
    node.setAttribute("aria-selected", String(at === highlighted));
  });
  entries[highlighted]?.scrollIntoView({ block: "nearest" });
  $("ask-name").setAttribute("aria-activedescendant", entries.length ? `choice-${highlighted}` : "");
}

function answer() {
  const { options, isNumber, note, then } = question;
  const name = options.length ? offered[highlighted] : typed();
  const isKnown = options.some(({ folder }) => folder === name);
  if (!name || (isNumber && note(name)) || (!isKnown && !isNumber && reasonInvalid(name))) return;
  $("ask").close();
  then(name);
}

export function startChoosing() {
  $("ask").addEventListener("submit", (/** @type {Event} */ event) => { event.preventDefault(); answer(); });
  $("ask-name").addEventListener("input", offer);
  $("ask-name").addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => {
    const step = /** @type {Record<string, number>} */ ({ ArrowDown: 1, ArrowUp: -1 })[event.key];
    if (!step) return;
    event.preventDefault();
    highlight(highlighted + step);
  });
  $("ask-list").addEventListener("click", (/** @type {MouseEvent} */ event) => {
    const node = /** @type {Element} */ (event.target).closest("[role=option]");
    if (!node) return;
    highlighted = [...$("ask-list").children].indexOf(node);
    answer();
  });
  $("ask-cancel").addEventListener("click", () => $("ask").close());
}

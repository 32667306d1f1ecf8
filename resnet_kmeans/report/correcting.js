
// Corrections are a log of steps. Replaying the log gives the state that the page shows, so undo
// needs no inverse steps. A group is a cluster, identified by the label of its section; a new
// group gets the next free label.
const exported = JSON.parse($("corrections").textContent);
const ASIDE = -2, NOISE = -1;
const folders = new Map(exported.groups.map((group) => [group.label, group.folder]));
const names = new Map(exported.groups.map((group) => [group.label, nameOf(group.label)])); // printable
const sizes = new Map(exported.groups.map((group) => [group.label, group.size]));
const all = [...items]; // in the order of the page
const idOf = (item) => +item.querySelector("a").id.slice("image-".length);
const label = new Map(all.map((item) => [idOf(item), +labelOf(item)])); // of the present folder
const itemOf = new Map(all.map((item) => [idOf(item), item]));
const rows = new Map(sections.map((section) => [+section.id.slice(8), [...section.querySelector(".grid").children]]));
const added = new Set(exported.added.map((i) => itemOf.get(i))); // by hand, so not in the export
const plural = (n, word = "image") => `${n.toLocaleString("en")} ${word}${n === 1 ? "" : "s"}`;

let log = [], done = 0, saved = null, state = null;
const picked = new Set();
let anchor = null, focused = null, canStore = true;

function replay() {
  const state = { names: new Map(folders), home: new Map([...folders.keys()].map((g) => [g, g])), placed: new Map() };
  for (const step of log.slice(0, done)) {
    if (step.do === "name") state.names.set(step.group, String(step.name));
    if (step.do === "merge") {
      for (const group of step.groups) state.names.delete(group);
      for (const map of [state.home, state.placed])
        for (const [key, group] of map) if (step.groups.includes(group)) map.set(key, step.into);
    }
    if (step.do === "move") {
      if (step.name !== undefined) state.names.set(step.into, String(step.name));
      for (const i of step.images) if (label.has(i)) state.placed.set(i, step.into);
    }
  }
  return state;
}
function groupNow(home, i) { return state.placed.get(i) ?? state.home.get(home); }
groupOf = (home, i) => groupNow(+home, i);
function shownName(group) {
  if (group === ASIDE) return "Set aside";
  const name = state.names.get(group);
  return name === folders.get(group) ? names.get(group) : name;
}
function sizeNow(group) {
  let size = 0;
  for (const [home, into] of state.home) if (into === group) size += sizes.get(home);
  for (const [i, into] of state.placed) size += (into === group) - (state.home.get(label.get(i)) === group);
  return size;
}
const groups = () => [...state.names.keys()].filter((group) => group >= 0);

function curation() {
  const renamed = exported.groups.map(({ label, folder }) => [folder, state.names.get(state.home.get(label))]);
  const moved = [...state.placed].filter(([i, into]) => into !== state.home.get(label.get(i)));
  return {
    format: 1,
    export: exported.id,
    revision: exported.revision,
    // fromEntries, since a folder may be called __proto__
    names: Object.fromEntries(renamed.filter(([folder, name]) => name !== folder)),
    moves: Object.fromEntries(moved.map(([i, into]) => [exported.paths[i], into === ASIDE ? null : state.names.get(into)])),
  };
}
const text = () => JSON.stringify(curation(), null, 1) + "\n";
const isChanged = () => text() !== (saved ?? unchanged);

// The changes as sentences
function sentences() {
  const lines = [];
  for (const group of groups()) {
    const homes = [...state.home].filter(([, into]) => into === group).map(([home]) => home);
    const others = homes.filter((home) => folders.get(home) !== state.names.get(group)).map((home) => names.get(home));
    if (homes.length > 1) lines.push(`${homes.map((home) => names.get(home)).join(" and ")} are merged as ${shownName(group)}`);
    else if (others.length) lines.push(`${others[0]} is now ${shownName(group)}`);
  }
  const counts = new Map();
  for (const [i, into] of state.placed) {
    const from = state.home.get(label.get(i));
    if (from === into) continue;
    const way = `from ${shownName(from)} ` + (into === ASIDE ? "set aside" : `to ${shownName(into)}`);
    counts.set(way, (counts.get(way) ?? 0) + 1);
  }
  for (const [way, n] of counts) lines.push(`${plural(n)} ${way}`);
  return lines;
}

// Drawing the state
function sectionOf(group) {
  if ($("cluster-" + group)) return $("cluster-" + group);
  const section = document.createElement("section"), heading = document.createElement("h2"), line = document.createElement("p");
  Object.assign(section, { id: "cluster-" + group, className: "cluster", tabIndex: -1 });
  section.setAttribute("aria-labelledby", "title-" + group);
  section.style.setProperty("--hue", ((sections.length * 137.5 + 25) % 360).toFixed(1));
  if (group < 0) section.style.setProperty("--dot", "62% 0");
  const span = (name, id = "") => Object.assign(document.createElement("span"), { className: name, id });
  heading.append(span("swatch"), span("name", "title-" + group));
  line.className = "soft";
  line.append(span("size"), span("facts"));
  section.append(heading, line, Object.assign(document.createElement("ul"), { className: "grid" }));
  const after = group >= 0 && sections.find((other) => +other.id.slice(8) < 0);
  $("clusters").insertBefore(section, after || null);
  sections = [...document.querySelectorAll(".cluster")];
  rows.set(group, []);
  addActs(section, group);
  return section;
}
function addActs(section, group) {
  const acts = Object.assign(document.createElement("span"), { className: "acts", hidden: !isCorrecting() });
  const words = group < 0 ? [["all", "Select all"]] : [["rename", "Rename"], ["merge", "Merge"], ["all", "Select all"]];
  for (const [act, word] of words) {
    const button = Object.assign(document.createElement("button"), { type: "button", textContent: word });
    button.dataset.act = act;
    acts.append(button);
  }
  if (group >= 0 && group < 10) {
    const key = Object.assign(document.createElement("kbd"), { textContent: group, title: "Key that moves the selection here", hidden: !isCorrecting() });
    section.querySelector("h2").append(key);
  }
  section.querySelector("h2").append(acts);
  section.querySelector("p").append(Object.assign(document.createElement("span"), { className: "changed" }));
}
function entryOf(group) {
  let link = document.querySelector(`#index a[data-label="${group}"]`);
  if (!link) {
    const entry = $("index").querySelector("li").cloneNode(true);
    link = entry.querySelector("a");
    link.href = "#cluster-" + group;
    link.dataset.label = group;
    link.style.cssText = sectionOf(group).style.cssText;
    link.querySelector("img").style.visibility = "hidden";
    link.querySelector(".facts")?.remove();
    $("index").append(entry);
  }
  return link;
}
function render() {
  const before = document.activeElement?.closest?.(".grid li[data-name]");
  const following = before && neighbors(before);
  state = replay();
  if (all.some((item) => now(item) === ASIDE)) sectionOf(ASIDE);
  for (const group of groups()) sectionOf(group);
  for (const section of sections) renderSection(section, +section.id.slice(8));
  items = [...document.querySelectorAll(".grid li[data-name]")];
  for (const item of all) {
    const home = state.home.get(label.get(idOf(item))), from = now(item) === home ? "" : shownName(home);
    if (from) item.dataset.from = from; else delete item.dataset.from;
    item.querySelector("a").setAttribute("aria-description", from ? "moved from " + from : "");
  }
  filter();
  renderBar();
  // After an image was moved, the keyboard focus stays where the image was.
  const next = before && document.activeElement !== before.querySelector("a") && following.find((item) => item.isConnected && !item.hidden);
  if (next) next.querySelector("a").focus({ preventScroll: true });
}
const now = (item) => groupNow(label.get(idOf(item)), idOf(item));
function neighbors(item) {
  const list = [...item.parentNode.querySelectorAll("li[data-name]")], at = list.indexOf(item);
  const stay = (other) => !picked.has(other);
  return [...list.slice(at).filter(stay), ...list.slice(0, at).reverse().filter(stay), item];
}
function renderSection(section, group) {
  const isHere = (item) => item.dataset.name === undefined || now(item) === group;
  const own = rows.get(group).filter(isHere);
  const wanted = [...own, ...all.filter((item) => label.get(idOf(item)) !== group && now(item) === group)];
  const grid = section.querySelector(".grid");
  if (wanted.length !== grid.children.length || wanted.some((item, at) => item !== grid.children[at])) grid.replaceChildren(...wanted);
  const alive = group === ASIDE || group === NOISE || state.names.has(group);
  const size = alive ? sizeNow(group) : 0, link = entryOf(group), entry = link.closest("li");
  section.dataset.size = size;
  entry.hidden = !alive || (!size && !folders.has(group));
  if (!alive) return;
  const note = changed(group);
  for (const place of [section, link]) {
    place.querySelector(".name").textContent = group === NOISE ? names.get(group) : shownName(group);
    place.querySelector(".size").textContent = plural(size);
    // Measurements are shown only as long as the cluster has not changed.
    const facts = place.querySelector(".facts");
    if (facts) facts.hidden = size !== sizes.get(group);
  }
  section.querySelector(".changed").textContent = note ? " · " + note : "";
  const image = link.querySelector("img"), first = grid.querySelector("li[data-name] img");
  image.style.visibility = first ? "" : "hidden";
  if (first) image.src = first.src;
}
function changed(group) {
  if (group === ASIDE) return "";
  const homes = [...state.home].filter(([, into]) => into === group).map(([home]) => home);
  const others = homes.filter((home) => folders.get(home) !== state.names.get(group)).map((home) => names.get(home));
  const gone = [...state.placed].filter(([i, into]) => into !== group && state.home.get(label.get(i)) === group).length;
  const come = [...state.placed].filter(([i, into]) => into === group && state.home.get(label.get(i)) !== group).length;
  return [!homes.length && "new", homes.length > 1 ? "merged from " + homes.map((home) => names.get(home)).join(", ") : others.length && "was " + others[0],
    come && `${come} moved here`, gone && `${gone} moved away`].filter(Boolean).join(" · ");
}
function renderBar() {
  const hidden = [...picked].filter((item) => item.hidden).length;
  $("picked").textContent = picked.size ? `${picked.size} selected` + (hidden ? `, ${hidden} not in the filter` : "") : "Nothing selected";
  for (const id of ["move", "aside", "open", "clear"]) $(id).disabled = !picked.size;
  for (const item of all) item.querySelector("a").setAttribute("aria-checked", picked.has(item));
  $("undo").disabled = !done;
  $("redo").disabled = done === log.length;
  const lines = sentences();
  $("changes").querySelector("summary").textContent = lines.length ? plural(lines.length, "change") + (isChanged() ? "" : ", saved") : "No changes";
  $("changes").querySelector("ul").replaceChildren(...lines.map((line) => Object.assign(document.createElement("li"), { textContent: line })));
  $("save").disabled = !lines.length;
  $("apply").hidden = !lines.length || isChanged();
}
function announce(words) { $("told").textContent = words; }

// Steps are stored in the browser, if it allows that. All file:// pages may share one storage, so
// the key contains the export's id.
const key = "resnet-kmeans " + exported.id;
function store() {
  try {
    if (log.length) localStorage.setItem(key, JSON.stringify({ revision: exported.state, log, done, saved, unsaved: isChanged() }));
    else localStorage.removeItem(key);
    canStore = true;
  } catch {
    if (canStore) announce($("told").textContent + " This browser cannot store your corrections: save them before you leave the page.");
    canStore = false;
  }
}
function restore() {
  let found = null;
  try { found = JSON.parse(localStorage.getItem(key)); } catch { return ""; }
  if (!Array.isArray(found?.log) || !found.log.length) return "";
  // Saved corrections have probably been applied, which changes the revision.
  if (found.revision !== exported.state) return found.unsaved ? "The folders have changed since your last corrections, which were discarded." : "";
  try {
    [log, done, saved] = [found.log, found.done, found.saved];
    state = replay();
    text();
    return "Your corrections to this export were restored.";
  } catch {
    [log, done, saved] = [[], 0, null];
    return "";
  }
}
function record(step, words) {
  log = [...log.slice(0, done), step];
  done = log.length;
  render();
  announce(words);
  store();
}
const said = (step) => step.said ?? "the last change";
function undo() {
  if (!done) return announce("Nothing to undo.");
  done -= 1;
  render();
  announce("Undone: " + said(log[done]));
  store();
}
function redo() {
  if (done === log.length) return announce("Nothing to redo.");
  done += 1;
  render();
  announce("Redone: " + said(log[done - 1]));
  store();
}

// The same rules for names as in `resnet-kmeans apply`, which a page without a server cannot ask.
const compared = (name) => name.normalize("NFC").toUpperCase().toLowerCase().normalize("NFC");
const DEVICES = /^(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[0-9¹²³])$/;
function reasonInvalid(name) {
  const bytes = new TextEncoder().encode(name).length;
  const forbidden = [...new Set(name.match(/[<>:"/\\|?*]/g) ?? [])].sort().join(" ");
  if (!name.trim()) return "empty";
  if (name !== name.trim() || name.endsWith(".")) return "it begins or ends with a space, or ends with a dot, which Windows removes";
  if (forbidden) return "Windows or other systems forbid " + forbidden;
  if (/[\p{Cc}\p{Cs}\u2028\u2029]/u.test(name)) return "it contains control characters, line breaks or invalid Unicode";
  if (/^[._]/.test(name)) return "a leading dot hides a folder, a leading underscore marks one that is not a cluster";
  if (DEVICES.test(compared(name).split(".")[0].trimEnd())) return "Windows reserves it for a device";
  if (["clusters.csv", "report.html"].includes(compared(name))) return "an export has a file of this name";
  return bytes > 255 ? `${bytes} bytes long, the maximum is 255` : "";
}
const groupNamed = (name, except) => groups().find((group) => group !== except && compared(state.names.get(group)) === compared(name));

// Selecting
const visible = () => items.filter((item) => !item.hidden);
function pick(item, range) {
  const list = visible().filter((each) => !added.has(each)), from = list.indexOf(anchor), at = list.indexOf(item), n = picked.size;
  if (added.has(item)) return announce(`${item.dataset.name} was added by hand. Add it to the export with resnet-kmeans add; then it can be moved.`);
  if (range && from >= 0) for (const each of list.slice(Math.min(from, at), Math.max(from, at) + 1)) picked.add(each);
  else if (!picked.delete(item)) picked.add(item);
  anchor = focused = item;
  renderBar();
  announce(`${picked.size} selected` + (picked.size < n || range ? "" : `: ${item.dataset.name}`));
}
function clear() {
  picked.clear();
  renderBar();
}
function pickAll(section) {
  if (!section) return announce("Which cluster? Click one of its images first.");
  for (const item of section.querySelectorAll(".grid li[data-name]")) if (!item.hidden && !added.has(item)) picked.add(item);
  renderBar();
  const missing = sizeNow(+section.id.slice(8)) - section.querySelectorAll(".grid li[data-name]").length;
  announce(`${picked.size} selected` + (missing > 0 ? `; ${plural(missing)} of this cluster ${missing === 1 ? "is" : "are"} not on the page` : ""));
}
function currentSection() {
  const section = document.activeElement?.closest?.(".cluster") ?? (focused?.isConnected ? focused.closest(".cluster") : null);
  return section && !section.hidden ? section : null;
}

// Actions
function moveTo(into, name) {
  const images = [...picked].filter((item) => now(item) !== into).map(idOf);
  const where = into === ASIDE ? "set aside" : `moved to ${name ?? shownName(into)}`;
  if (!picked.size) return announce("Select images first.");
  if (!images.length) return announce(into === ASIDE ? "They are already set aside." : `They are already in ${shownName(into)}.`);
  const words = `${plural(images.length)} ${where}.`;
  const step = { do: "move", images, into, said: words };
  if (name !== undefined) step.name = name;
  record(step, words);
  clear();
}
function askMove() {
  if (!picked.size) return announce("Select images first.");
  ask({
    title: `Move ${plural(picked.size)} to`, label: "Choose a cluster below, or type a new name", ok: "Move", options: groups(),
    then(choice) {
      if (typeof choice === "number") return moveTo(choice);
      const known = groupNamed(choice);
      if (known !== undefined) moveTo(known);
      else moveTo(Math.max(-1, ...rows.keys(), ...state.names.keys()) + 1, choice);
    },
  });
}
function askName(section) {
  const group = section && +section.id.slice(8);
  if (!section) return announce("Which cluster? Click one of its images first.");
  if (group < 0) return announce("This is not a cluster, so it cannot be renamed. Select its images to move them.");
  ask({
    title: `Rename ${shownName(group)}`, label: "New name", ok: "Rename", value: shownName(group),
    note: "If another cluster has this name, the two are merged.",
    then(name) {
      const other = groupNamed(name, group);
      if (other !== undefined) return merge([group], other);
      if (name === state.names.get(group)) return announce("The name is the same.");
      const words = `${shownName(group)} is now ${name}.`;
      record({ do: "name", group, name, said: words }, words);
    },
  });
}
function askMerge(section) {
  const chosen = section ? [section] : [...new Set([...picked].map((item) => item.closest(".cluster")))];
  if (!chosen.length && currentSection()) chosen.push(currentSection());
  const sources = chosen.map((each) => +each.id.slice(8)).filter((group) => group >= 0);
  if (!sources.length) return announce("Which clusters? Click an image of each first.");
  const several = sources.length > 1, options = several ? sources : groups().filter((group) => group !== sources[0]);
  if (!options.length) return announce("There is no other cluster.");
  ask({
    title: several ? `Merge ${sources.map(shownName).join(" and ")}` : `Merge ${shownName(sources[0])} into`,
    note: several ? "Which one keeps its name?" : "Whole clusters are merged, including images that are not shown.",
    options,
    then: (into) => merge(sources.filter((group) => group !== into), into),
  });
}
function merge(groups, into) {
  const words = `${groups.map(shownName).join(" and ")} merged into ${shownName(into)}, ${plural(sizeNow(into) + groups.reduce((sum, group) => sum + sizeNow(group), 0))}.`;
  record({ do: "merge", groups, into, said: words }, words);
}

// One dialog for all questions
let question = null;
function ask(asked) {
  question = { options: [], note: "", value: "", ...asked };
  $("ask-title").textContent = question.title;
  $("ask-note").textContent = question.note;
  $("ask-label").hidden = $("ask-ok").hidden = !question.label;
  $("ask-label").querySelector("span").textContent = question.label ?? "";
  $("ask-name").value = question.value;
  $("ask-ok").textContent = question.ok ?? "";
  showReason("");
  offer();
  $("ask").showModal();
  if (question.label) $("ask-name").select(); else $("ask-groups").querySelector("button").focus();
}
function offer() {
  const typed = question.label && question.options.length ? compared($("ask-name").value.trim()) : "";
  const fits = question.options.filter((group) => compared(shownName(group)).includes(typed));
  $("ask-groups").replaceChildren(...fits.map((group) => {
    const entry = document.createElement("li"), button = Object.assign(document.createElement("button"), { type: "button" });
    const name = Object.assign(document.createElement("span"), { textContent: shownName(group) });
    const swatch = Object.assign(document.createElement("span"), { className: "swatch" });
    swatch.style.cssText = $("cluster-" + group).style.cssText;
    button.dataset.group = group;
    button.append(swatch, name, Object.assign(document.createElement("small"), { textContent: plural(sizeNow(group)) }));
    if (group < 10) swatch.after(Object.assign(document.createElement("kbd"), { textContent: group }));
    entry.append(button);
    return entry;
  }));
}
function showReason(reason) {
  $("ask-wrong").textContent = reason ? `“${$("ask-name").value}” cannot be a folder’s name: ${reason}.` : "";
  $("ask-name").setAttribute("aria-invalid", !!reason);
}
function answer(choice) {
  const { then } = question;
  $("ask").close();
  then(choice);
}
$("ask").addEventListener("submit", (event) => {
  event.preventDefault();
  const name = $("ask-name").value, reason = reasonInvalid(name);
  if (!question.label) return;
  showReason(reason);
  if (!reason) answer(name);
});
$("ask-name").addEventListener("input", () => {
  showReason($("ask-name").value ? reasonInvalid($("ask-name").value) : "");
  offer();
});
$("ask-cancel").addEventListener("click", () => $("ask").close());
$("ask-groups").addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (button) answer(+button.dataset.group);
});
$("ask").addEventListener("keydown", (event) => {
  const buttons = [...$("ask-groups").querySelectorAll("button")], at = buttons.indexOf(document.activeElement);
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (step && buttons.length) { event.preventDefault(); buttons[Math.max(0, Math.min(buttons.length - 1, at + step))].focus(); }
  const named = event.target !== $("ask-name") && buttons.find((button) => button.dataset.group === event.key);
  // Otherwise the page would also react to the digit, once the dialog is closed.
  if (named) { event.preventDefault(); event.stopPropagation(); answer(+event.key); }
});

// Saving
function save() {
  if (!sentences().length) return announce("There are no changes to save.");
  const content = text(), link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([content], { type: "application/json" }));
  link.download = "curation.json";
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
  saved = content;
  $("apply").querySelector("code").textContent = exported.command;
  renderBar();
  announce("Changes saved as curation.json.");
  store();
}
window.addEventListener("beforeunload", (event) => { if (isChanged()) event.preventDefault(); });

// The mode
const isCorrecting = () => document.documentElement.classList.contains("correcting");
function correct(on) {
  document.documentElement.classList.toggle("correcting", on);
  $("correct").textContent = on ? "Stop correcting" : "Correct";
  $("correct").classList.toggle("main", !on);
  $("bar").hidden = $("guide").hidden = !on;
  for (const part of document.querySelectorAll(".acts, .cluster h2 kbd")) part.hidden = !on;
  for (const item of all)
    if (on) item.querySelector("a").setAttribute("role", "checkbox"); else item.querySelector("a").removeAttribute("role");
  if (!on) clear();
}
$("correct").addEventListener("click", () => {
  correct(!isCorrecting());
  if (isCorrecting()) announce("Select images, or merge and rename clusters with the buttons next to their names.");
});
// In the capture phase, before the listener that opens an image.
document.addEventListener("click", (event) => {
  if (!isCorrecting()) return;
  const item = event.target.closest?.(".grid li[data-name]"), button = event.target.closest?.(".acts button");
  if (item) { event.preventDefault(); pick(item, event.shiftKey); }
  if (!button) return;
  const section = button.closest(".cluster");
  ({ rename: askName, merge: askMerge, all: pickAll })[button.dataset.act](section);
}, true);
document.addEventListener("dblclick", (event) => {
  const item = isCorrecting() && event.target.closest?.(".grid li[data-name]");
  if (item && !event.shiftKey) show(item);
});
document.addEventListener("focusin", (event) => { focused = event.target.closest?.(".grid li[data-name]") ?? focused; });
$("move").addEventListener("click", askMove);
$("aside").addEventListener("click", () => moveTo(ASIDE));
$("open").addEventListener("click", () => show([...picked].pop()));
$("clear").addEventListener("click", clear);
$("undo").addEventListener("click", undo);
$("redo").addEventListener("click", redo);
$("save").addEventListener("click", save);
document.addEventListener("filtered", renderBar);

// Keys
function goBy(item, key) {
  const list = visible(), at = list.indexOf(item), box = item.getBoundingClientRect(), middle = box.left + box.width / 2;
  let next = list[at + { ArrowRight: 1, ArrowLeft: -1 }[key]];
  if (key === "ArrowDown" || key === "ArrowUp") {
    const side = key === "ArrowDown" ? list.slice(at + 1) : list.slice(0, at).reverse();
    const boxes = side.map((other) => other.getBoundingClientRect());
    const row = boxes.find((other) => Math.abs(other.top - box.top) > box.height / 2)?.top;
    const gap = (other) => Math.abs(boxes[other].left + boxes[other].width / 2 - middle);
    const there = boxes.map((_, other) => other).filter((other) => Math.abs(boxes[other].top - row) < 2);
    next = side[there.sort((one, other) => gap(one) - gap(other))[0]];
  }
  if (next) next.querySelector("a").focus();
}
const acts = {
  m: () => askMerge(), r: () => askName(currentSection()), v: askMove, x: () => moveTo(ASIDE), Delete: () => moveTo(ASIDE),
  a: () => pickAll(currentSection()), u: undo, Escape: () => { clear(); announce("Nothing selected."); },
};
function press(event) {
  const item = event.target.closest?.(".grid li[data-name]"), control = event.ctrlKey || event.metaKey;
  const letter = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  if (control) {
    const act = { z: event.shiftKey ? redo : undo, y: redo, s: save }[letter];
    return act && (act(), true);
  }
  if (item && letter === " ") return pick(item, event.shiftKey), true;
  if (item && letter === "Enter") return show(item), true;
  if (item && letter.startsWith("Arrow")) return goBy(item, letter), true;
  if (/^[0-9]$/.test(letter)) {
    if (groups().includes(+letter)) moveTo(+letter); else announce(`No cluster has the digit ${letter}.`);
    return true;
  }
  return acts[letter] && (acts[letter](), true);
}
document.addEventListener("keydown", (event) => {
  if (event.altKey || document.querySelector("dialog[open]") || event.target.closest?.("input, canvas, textarea")) return;
  if (event.key === "c" && !event.ctrlKey && !event.metaKey) return $("correct").click();
  if (isCorrecting() && press(event)) event.preventDefault();
});

state = replay();
const unchanged = text();
for (const item of added) item.classList.add("added");
for (const section of sections) addActs(section, +section.id.slice(8));
const restored = restore();
if (restored) correct(true);
$("apply").querySelector("code").textContent = exported.command;
render();
if (restored) announce(restored);

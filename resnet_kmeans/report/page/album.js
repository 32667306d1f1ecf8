/**
 * The images and clusters of the page, and what corrections make of them.
 *
 * Corrections are a log of steps. Replaying it over the album that the page was given is the state
 * that it shows, so taking a step back is leaving it out.
 *
 * @typedef {{label: number, folder: string, name: string, hidden: number, doubtful: number}} Cluster
 * `hidden` is the number of its images that are not on the page, `doubtful` that of those among them.
 * @typedef {{names?: [number, string][], moves?: [number, string | null][], do?: string, label?: number, k?: number}} Step
 * `names` gives clusters other names, `moves` gives images, by id, the folder they belong to or
 * null to set them aside; `do` is left to the server.
 * @typedef {{label: Int32Array, doubt: Int16Array, confirmed: Uint8Array, clusters: Map<number, Cluster>, now: Map<number, number>}} State
 * The arrays are in the order of the album; `now` is the cluster that each one was merged into.
 */

export const ASIDE = -2;
const SET_ASIDE = "_set_aside"; // its folder
export const NOISE = -1;
export const DOUBTFUL = 500; // thousandths; above this, an image is likelier wrong than right

/** @type {any} */
export let base;
/** @type {State} */
export let state;
/** @type {Step[]} */
export const log = [];
/** @type {Map<number, number>} */
let positions = new Map();
/** @type {Map<number, {size: number, doubtful: number}>} */
let sums = new Map();

/** @param {any} album */
export function load(album) {
  base = album;
  positions = new Map(base.id.map((/** @type {number} */ id, /** @type {number} */ at) => [id, at]));
  replay();
}

export function replay() {
  const clusters = /** @type {Cluster[]} */ (base.clusters);
  state = {
    label: Int32Array.from(base.label),
    doubt: Int16Array.from(base.doubt),
    confirmed: Uint8Array.from(base.confirmed),
    clusters: new Map(clusters.map((cluster) => [cluster.label, { ...cluster }])),
    now: new Map(clusters.map(({ label }) => [label, label])),
  };
  log.forEach(apply);
  sums = new Map([...state.clusters.values()].map(({ label, hidden, doubtful }) => [label, { size: hidden, doubtful }]));
  state.label.forEach((label, at) => {
    const sum = sums.get(label);
    sum.size += 1;
    if (state.doubt[at] > DOUBTFUL) sum.doubtful += 1;
  });
}

/** @param {Step} step */
function apply(step) {
  for (const [label, name] of step.names ?? []) {
    const cluster = state.clusters.get(label), other = named(name, label);
    if (!cluster) continue;
    if (!other) Object.assign(cluster, { folder: name, name });
    else mergeClusters(cluster, other);
  }
  const into = new Map(); // labels by folder
  for (const [id, folder] of step.moves ?? []) {
    const at = positions.get(id), name = folder ?? SET_ASIDE;
    if (at === undefined) continue;
    if (!into.has(name)) into.set(name, (named(name) ?? createCluster(name)).label);
    state.label[at] = into.get(name);
    state.confirmed[at] = folder === null ? 0 : 1;
    state.doubt[at] = folder === null ? -1 : 0;
  }
}

/** @param {Cluster} cluster @param {Cluster} into */
function mergeClusters(cluster, into) {
  state.label.forEach((label, at) => { if (label === cluster.label) state.label[at] = into.label; });
  for (const [label, now] of state.now) if (now === cluster.label) state.now.set(label, into.label);
  into.hidden += cluster.hidden;
  into.doubtful += cluster.doubtful;
  state.clusters.delete(cluster.label);
}

/** @param {string} folder */
function createCluster(folder) {
  const label = folder === SET_ASIDE ? ASIDE : Math.max(-1, ...state.clusters.keys(), ...state.now.keys()) + 1;
  const cluster = { label, folder, name: folder, hidden: 0, doubtful: 0 };
  state.clusters.set(label, cluster);
  return cluster;
}

/** The form by which file systems compare names. @param {string} name */
export const compared = (name) => name.normalize("NFC").toUpperCase().toLowerCase().normalize("NFC");

/** The cluster of this name, apart from one label. @param {string} name @param {number} [except] */
export function named(name, except) {
  const key = compared(name);
  return [...state.clusters.values()].find(({ label, folder }) => label !== except && compared(folder) === key);
}

/** The clusters that images can be moved to. */
export const targets = () => [...state.clusters.values()].filter(({ label }) => label >= 0);
/** @param {number} label */
export const sum = (label) => sums.get(label) ?? { size: 0, doubtful: 0 };
/** @param {number} id */
export const positionOf = (id) => positions.get(id);
/** @param {number} at */
export const clusterAt = (at) => state.clusters.get(state.label[at]);
/** The cluster that would rather have an image, if any. @param {number} at */
export const suggestedAt = (at) => base.suggestion[at] < 0 ? undefined : state.clusters.get(state.now.get(base.suggestion[at]));
/** Whether a person can move an image: not if it was added by hand. @param {number} at */
export const isMovable = (at) => !base.added[at] && base.export !== null;

/** What the first sentence and the bar say, for all images of the album. */
export function totals() {
  const { hidden } = base;
  let placed = hidden.placed, doubtful = hidden.doubtful, looked = hidden.looked, wrong = hidden.wrong;
  state.label.forEach((label, at) => {
    placed += +(label >= 0);
    doubtful += +(state.doubt[at] > DOUBTFUL);
    looked += state.confirmed[at];
    wrong += Math.max(0, state.doubt[at]) / 1000;
  });
  return { placed, doubtful, looked, wrong, clusters: targets().filter(({ label }) => sum(label).size).length };
}

/** @param {number} n */
export const number = (n) => n.toLocaleString("en");
/** @param {number} n @param {string} [word] */
export const count = (n, word = "image") => `${number(n)} ${word}${n === 1 ? "" : "s"}`;

/** What the parts of the page share. */

/**
 * How a page reaches pictures and records corrections: one way if it is served, another one if it
 * is a file.
 * @typedef {{
 *   thumbnail: (id: number) => string, original: (id: number) => string,
 *   record: (step: import("./album.js").Step, said: string) => void, undo: () => void, redo: () => void,
 *   points: () => Promise<[number, number, number][]>,
 * }} Way
 */

/** @param {string} id @returns {any} */
export const $ = (id) => document.getElementById(id);

/** @type {{way: Way, focused: number | null, render: () => void}} */
export const page = { way: null, focused: null, render: () => {} };

/** The color of a cluster; neighboring labels differ most. @param {number} label */
export const hueOf = (label) => label < 0 ? "oklch(62% 0 0)" : `oklch(var(--dot) ${(label * 137.5 + 25) % 360})`;

const READING = 8000; // milliseconds for which a sentence is shown
let silence = 0;

/** Say a sentence, also to those who cannot see it. @param {string} words */
export function announce(words) {
  $("told").textContent = words;
  clearTimeout(silence);
  silence = setTimeout(() => { $("told").textContent = ""; }, READING);
}

/** A map on which similar images are close together. */

import { base, clusterAt, positionOf } from "./album.js";
import { focusImage, order, showAll, view } from "./grid.js";
import { $, hueOf, page } from "./page.js";

const EDGE = 18; // pixels around the points
/** @type {[number, number, number][]} x and y from 0 to 1, and the id of an image */
let points = [];
/** @type {typeof points[0] | null} */
let current = null;
/** @type {number | null} */
let litLabel = null;

/** @param {typeof points[0]} point */
function placeOf([x, y]) {
  const side = $("canvas").clientWidth;
  return [EDGE + x * (side - 2 * EDGE), side - EDGE - y * (side - 2 * EDGE)];
}

export function drawMap() {
  const canvas = $("canvas"), known = points.filter(([, , id]) => positionOf(id) !== undefined);
  if (!canvas?.clientWidth || !known.length) return;
  const scale = devicePixelRatio || 1, side = canvas.clientWidth, pen = canvas.getContext("2d");
  canvas.width = canvas.height = side * scale;
  pen.scale(scale, scale);
  const style = getComputedStyle(document.documentElement), dot = style.getPropertyValue("--dot").trim();
  const radius = known.length > 2000 ? 2.2 : known.length > 400 ? 3.2 : 5, inView = view.text || view.isDoubtful ? new Set(order) : null;
  const labelOf = (/** @type {number} */ id) => clusterAt(positionOf(id)).label;
  const isShown = (/** @type {number} */ id) => (!inView || inView.has(id)) && (litLabel === null || labelOf(id) === litLabel);
  for (const pass of [false, true]) {
    for (const point of known.filter(([, , id]) => isShown(id) === pass)) {
      pen.beginPath();
      pen.arc(...placeOf(point), radius, 0, 7);
      pen.globalAlpha = pass ? 0.85 : 0.1;
      pen.fillStyle = hueOf(labelOf(point[2])).replace("var(--dot)", dot);
      pen.fill();
    }
  }
  if (!current) return;
  pen.globalAlpha = 1;
  pen.beginPath();
  pen.arc(...placeOf(current), radius + 3.5, 0, 7);
  pen.lineWidth = 2;
  pen.strokeStyle = style.getPropertyValue("--ink");
  pen.stroke();
}

/** @param {typeof points[0] | null} point @param {boolean} [isSpoken] */
function choose(point, isSpoken = false) {
  if (point === current) return;
  current = point;
  drawMap();
  $("tip").hidden = !point;
  if (!point) return;
  const at = positionOf(point[2]), words = `${base.name[at]} · ${clusterAt(at).name}`, [x, y] = placeOf(point), side = $("canvas").clientWidth;
  $("tip").replaceChildren(Object.assign(new Image(), { src: page.way.thumbnail(point[2]), alt: "" }), words);
  Object.assign($("tip").style, {
    left: x < side / 2 ? `${x + 14}px` : "auto", right: x < side / 2 ? "auto" : `${side - x + 14}px`,
    top: y < side / 2 ? `${y + 10}px` : "auto", bottom: y < side / 2 ? "auto" : `${side - y + 10}px`,
  });
  if (isSpoken) $("said").textContent = words;
}

/** @param {MouseEvent} event @param {number} reach */
function nearest(event, reach) {
  const gap = (/** @type {typeof points[0]} */ point) => Math.hypot(placeOf(point)[0] - event.offsetX, placeOf(point)[1] - event.offsetY);
  const best = points.reduce((/** @type {typeof current} */ least, point) => !least || gap(point) < gap(least) ? point : least, null);
  return best && gap(best) < reach ? best : null;
}

/** @param {number} dx @param {number} dy */
function neighborOf(dx, dy) {
  let best = null, least = Infinity;
  for (const point of points) {
    const [x, y] = [point[0] - current[0], point[1] - current[1]], along = x * dx + y * dy, aside = Math.abs(x * dy - y * dx);
    if (along > 0 && along + 2 * aside < least) [best, least] = [point, along + 2 * aside];
  }
  return best ?? current;
}

/** @param {number} id */
function goTo(id) {
  if (!order.includes(id)) showAll();
  focusImage(id);
}

export function startMap() {
  const canvas = $("canvas"), arrows = /** @type {Record<string, [number, number]>} */ ({ ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] });
  if (!canvas) return;
  /** @type {typeof current} the first tap on a point shows its image, the second goes there */
  let touched = null;
  $("map").addEventListener("toggle", async () => {
    if ($("map").open && !points.length) points = await page.way.points();
    $("drawing").hidden = points.length > 0;
    drawMap();
  });
  canvas.addEventListener("pointermove", (/** @type {PointerEvent} */ event) => event.pointerType === "mouse" && choose(nearest(event, 16)));
  canvas.addEventListener("pointerleave", (/** @type {PointerEvent} */ event) => event.pointerType === "mouse" && choose(null));
  canvas.addEventListener("click", (/** @type {PointerEvent} */ event) => {
    const point = nearest(event, 24), isReady = event.pointerType === "mouse" || touched === point;
    touched = point;
    choose(point);
    if (point && isReady) goTo(point[2]);
  });
  canvas.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => {
    if (arrows[event.key]) { event.preventDefault(); choose(current ? neighborOf(...arrows[event.key]) : points[0], true); }
    if (event.key === "Enter" && current) goTo(current[2]);
    if (event.key === "Escape") choose(null);
  });
  canvas.addEventListener("blur", () => choose(null));
  for (const name of ["pointerover", "pointerleave", "focusin", "focusout"]) $("index").addEventListener(name, (/** @type {Event} */ event) => {
    const link = ["pointerover", "focusin"].includes(name) && /** @type {HTMLElement} */ (event.target).closest("a");
    litLabel = link ? +link.dataset.label : null;
    drawMap();
  });
  new ResizeObserver(drawMap).observe(canvas);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawMap);
}

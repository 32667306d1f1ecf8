"use strict";
const $ = (id) => document.getElementById(id);
let items = [...document.querySelectorAll(".grid li[data-name]")];
let sections = [...document.querySelectorAll(".cluster")];
const labelOf = (item) => item.closest(".cluster").id.slice("cluster-".length);
const nameOf = (label) => $("cluster-" + label).querySelector(".name").textContent;
let groupOf = (label, i) => label; // replaced by correcting.js: the cluster after corrections
const thumbnailOf = (i) => $("image-" + i)?.querySelector("img")?.src;

// Filter and size
let wanted = "", matches = () => true;
function filter() {
  wanted = $("filter").value.trim().toLowerCase();
  const unsureOnly = $("unsure")?.checked;
  matches = (name, unsure) => name.toLowerCase().includes(wanted) && (!unsureOnly || unsure);
  let n = 0;
  for (const item of items) {
    item.hidden = !matches(item.dataset.name, item.classList.contains("unsure"));
    n += !item.hidden;
  }
  // A cluster may be left without images on the page, but still have images that are not shown.
  for (const section of sections)
    section.hidden = !section.querySelector(".grid li[data-name]:not([hidden])") && (!!wanted || !!unsureOnly || !+section.dataset.size);
  for (const gap of document.querySelectorAll(".break")) gap.hidden = wanted || unsureOnly;
  $("none").hidden = n > 0;
  const placed = +$("count").dataset.placed, number = (value) => value.toLocaleString("en");
  $("count").textContent = number(n) + (n === items.length ? "" : " of " + number(items.length)) + " shown"
    + (items.length < placed ? `, of ${number(placed)} images` : "");
  draw();
  document.dispatchEvent(new Event("filtered"));
}
$("tools").hidden = false;
$("tools").addEventListener("submit", (event) => event.preventDefault());
$("filter").addEventListener("input", filter);
$("unsure")?.addEventListener("change", filter);
$("size").value = parseInt(getComputedStyle(document.documentElement).getPropertyValue("--height"));
$("size").addEventListener("input", () =>
  document.documentElement.style.setProperty("--height", $("size").value + "px"));
for (const image of document.querySelectorAll("#index img")) {
  const source = thumbnailOf(image.dataset.of);
  if (source) image.src = source; else image.style.visibility = "hidden";
}

$("index").addEventListener("click", (event) => {
  const link = event.target.closest("a");
  if (link) { event.preventDefault(); go(link.dataset.label); }
});

// One image, larger
let current = null;
function show(item) {
  current = item;
  const link = item.querySelector("a"), image = item.querySelector("img"), { doubt, suggestion } = item.dataset;
  const large = $("detail").querySelector("img");
  large.hidden = !image;
  if (image) large.src = image.src;
  if (image && !link.getAttribute("href").startsWith("#")) {
    // The thumbnail stays if the original is missing, or in a format that browsers cannot show.
    const original = new Image();
    original.onload = () => { if (current === item) large.src = original.src; };
    original.src = link.href;
  }
  $("detail-name").textContent = item.dataset.name;
  $("detail-facts").textContent = [nameOf(labelOf(item)),
    doubt && "doubt " + doubt,
    suggestion && (item.classList.contains("unsure") ? "rather in " : "else in ") + nameOf(suggestion),
  ].filter(Boolean).join(" · ");
  $("detail-link").hidden = link.getAttribute("href").startsWith("#");
  $("detail-link").href = link.href;
  if (!$("detail").open) $("detail").showModal();
}
function step(by) {
  const visible = items.filter((item) => !item.hidden);
  show(visible[(visible.indexOf(current) + by + visible.length) % visible.length]);
}
$("clusters").addEventListener("click", (event) => {
  const item = event.target.closest(".grid li[data-name]");
  if (!item || event.ctrlKey || event.metaKey || event.shiftKey || event.defaultPrevented) return;
  event.preventDefault();
  show(item);
});
$("next").addEventListener("click", () => step(1));
$("previous").addEventListener("click", () => step(-1));
$("close").addEventListener("click", () => $("detail").close());
$("detail").addEventListener("click", (event) => { if (event.target === $("detail")) $("detail").close(); });
$("detail").addEventListener("close", () => current.querySelector("a").focus());
$("detail").addEventListener("keydown", (event) => {
  if (event.key === "ArrowRight") step(1);
  if (event.key === "ArrowLeft") step(-1);
});

// Map
const canvas = document.querySelector("#map canvas");
const points = JSON.parse($("points").textContent).map(([x, y, label, i, name]) => ({ x, y, label: String(label), i, name }));
const color = (label, dot) => {
  const style = $("cluster-" + label).style;
  return `oklch(${style.getPropertyValue("--dot") || dot} ${style.getPropertyValue("--hue")})`;
};
const unsure = new Set(items.filter((item) => item.classList.contains("unsure")).map((item) => item.querySelector("a").id));
let lit = null, chosen = null;
function place(point) {
  const side = canvas.clientWidth, margin = 18;
  return [margin + point.x * (side - 2 * margin), side - margin - point.y * (side - 2 * margin)];
}
function draw() {
  if (!canvas) return;
  const scale = window.devicePixelRatio || 1, side = canvas.clientWidth, pen = canvas.getContext("2d");
  canvas.width = canvas.height = side * scale;
  pen.scale(scale, scale);
  const style = getComputedStyle(document.documentElement);
  const dot = style.getPropertyValue("--dot"), radius = points.length > 2000 ? 2.2 : points.length > 400 ? 3.2 : 5;
  const group = (p) => String(groupOf(p.label, p.i));
  const shown = (p) => matches(p.name, unsure.has("image-" + p.i)) && (!lit || group(p) === lit);
  for (const pass of [false, true]) {
    for (const point of points) {
      if (shown(point) !== pass) continue;
      const [x, y] = place(point);
      pen.beginPath();
      pen.arc(x, y, radius, 0, 7);
      pen.globalAlpha = pass ? 0.85 : 0.1;
      pen.fillStyle = color(group(point), dot);
      pen.fill();
    }
  }
  pen.globalAlpha = 1;
  if (chosen) {
    const [x, y] = place(chosen);
    pen.beginPath();
    pen.arc(x, y, radius + 3.5, 0, 7);
    pen.lineWidth = 2;
    pen.strokeStyle = style.getPropertyValue("--ink");
    pen.stroke();
  }
}
function choose(point, spoken) {
  if (point === chosen) return;
  chosen = point;
  draw();
  $("tip").hidden = !point;
  if (!point) return;
  const source = thumbnailOf(point.i), parts = [];
  if (source) parts.push(Object.assign(new Image(), { src: source, alt: "" }));
  const name = nameOf(groupOf(point.label, point.i));
  parts.push(`${point.name} · ${name}`);
  $("tip").replaceChildren(...parts);
  const [x, y] = place(point), side = canvas.clientWidth;
  Object.assign($("tip").style, {
    left: x < side / 2 ? x + 14 + "px" : "auto", right: x < side / 2 ? "auto" : side - x + 14 + "px",
    top: y < side / 2 ? y + 10 + "px" : "auto", bottom: y < side / 2 ? "auto" : $("map").clientHeight - y + 10 + "px" });
  if (spoken) $("said").textContent = `${point.name}, ${name}`;
}
function nearest(event, reach) {
  let best = null, least = reach * reach;
  for (const point of points) {
    const [x, y] = place(point), gap = (x - event.offsetX) ** 2 + (y - event.offsetY) ** 2;
    if (gap < least) [best, least] = [point, gap];
  }
  return best;
}
function neighbor(dx, dy) {
  if (!chosen) return points[0];
  let best = null, least = Infinity;
  for (const point of points) {
    const along = (point.x - chosen.x) * dx + (point.y - chosen.y) * dy;
    const aside = Math.abs((point.x - chosen.x) * dy - (point.y - chosen.y) * dx);
    if (along > 0 && along + 2 * aside < least) [best, least] = [point, along + 2 * aside];
  }
  return best || chosen;
}
function go(label) {
  const section = $("cluster-" + label);
  if (section.hidden) { $("filter").value = ""; if ($("unsure")) $("unsure").checked = false; filter(); }
  location.hash = section.id;
  section.focus({ preventScroll: true });
}
if (canvas) {
  const arrows = { ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
  let touched = null; // the first tap on a point shows its image, the second goes to the cluster
  canvas.addEventListener("pointermove", (event) => event.pointerType === "mouse" && choose(nearest(event, 16)));
  canvas.addEventListener("pointerleave", (event) => event.pointerType === "mouse" && choose(null));
  canvas.addEventListener("click", (event) => {
    const point = nearest(event, 24), ready = event.pointerType === "mouse" || touched === point;
    touched = point;
    choose(point);
    if (point && ready) go(groupOf(point.label, point.i));
  });
  canvas.addEventListener("keydown", (event) => {
    if (arrows[event.key]) { event.preventDefault(); choose(neighbor(...arrows[event.key]), true); }
    if (event.key === "Enter" && chosen) go(groupOf(chosen.label, chosen.i));
    if (event.key === "Escape") choose(null);
  });
  canvas.addEventListener("blur", () => choose(null));
  const light = (event) => {
    const link = ["pointerover", "focusin"].includes(event.type) && event.target.closest("a");
    lit = link ? link.dataset.label : null;
    draw();
  };
  for (const name of ["pointerover", "pointerleave", "focusin", "focusout"]) $("index").addEventListener(name, light);
  new ResizeObserver(draw).observe(canvas);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
}

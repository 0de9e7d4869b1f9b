// Picks an image, worsens it as the sliders say, asks the server, and shows the answer.

import { drawBars, drawHand, drawPlane, drawProfile, percent, seriesColour } from "./charts.js";
import { canvasOf, drawExample, worsen } from "./effects.js";

const $ = (id) => document.getElementById(id);
const SHOWN_CLASSES = 10;
const state = {
  deck: null, limits: null, file: null, canvas: null, reduced: false, tooLarge: false, all: false, answer: null, asking: null, timer: 0,
};

async function loadDeck() {
  const info = (await (await fetch("/docs.json")).json()).info;
  state.deck = info["x-deck"];
  state.limits = info["x-limits"];
  const { name, version, classes, cards, image_size: size } = state.deck;
  $("deck").textContent = `${name} ${version}: ${cards.length} cards, ${classes.length} classes, ${size} × ${size} pixels`;
  $("curl").textContent = `curl -F image=@photo.png ${location.host}/classify`;
  document.title = `cards-deck: ${name}`;
  drawHand($("cards"), hand());
  $("gate").hidden = false;
}

async function take(file) {
  state.file = file;
  state.canvas = null;
  state.reduced = state.tooLarge = false;
  setSliders(0, 0);
  try {
    const bitmap = await createImageBitmap(file);
    const { max_body_bytes: bytes, max_side: side, max_pixels: pixels } = state.limits;
    state.tooLarge = file.size > bytes - 2048 || Math.max(bitmap.width, bitmap.height) > side || bitmap.width * bitmap.height > pixels;
    state.canvas = canvasOf(bitmap);
    state.reduced = state.canvas.width < bitmap.width;
  } catch {
    // Not readable here; the server says why.
  }
  $("effects").disabled = state.canvas === null;
  $("preview").hidden = state.canvas === null;
  $("invite").hidden = state.canvas !== null;
  $("drop").classList.toggle("filled", state.canvas !== null);
  preview();
  await ask();
}

function effects() {
  return { noise: Number($("noise").value), blur: Number($("blur").value) };
}

function setSliders(noise, blur) {
  $("noise").value = noise;
  $("blur").value = blur;
  showSliders();
}

function showSliders() {
  $("noise-value").textContent = Number($("noise").value).toFixed(2);
  $("blur-value").textContent = `${Number($("blur").value).toFixed(1)} px`;
}

function preview() {
  if (!state.canvas) return null;
  const data = worsen(state.canvas, effects(), state.deck.image_size);
  const canvas = $("preview");
  canvas.width = data.width;
  canvas.height = data.height;
  canvas.classList.toggle("small", Math.max(data.width, data.height) < 256);
  canvas.getContext("2d").putImageData(data, 0, 0);
  return canvas;
}

// The file untouched where nothing was changed; else the canvas as PNG.
async function body() {
  const { noise, blur } = effects();
  const { file, canvas } = state;
  const whole = !canvas || (noise === 0 && blur === 0 && !state.tooLarge);
  $("note").hidden = whole || !state.reduced;
  if (whole) return file;
  $("note").textContent = `Sent as ${canvas.width} × ${canvas.height}, reduced in this browser.`;
  return new Promise((resolve) => { preview().toBlob(resolve, "image/png"); });
}

async function ask() {
  if (!state.file) return;
  state.asking?.abort();
  const asking = new AbortController();
  state.asking = asking;
  $("answer").classList.add("busy");
  try {
    const form = new FormData();
    form.append("image", await body(), "image");
    const response = await fetch("/classify?explain=1", { method: "POST", body: form, signal: asking.signal });
    const answer = await response.json();
    if (asking.signal.aborted) return;
    if (response.ok) show(answer);
    else fail(answer.error, answer.code);
  } catch (error) {
    if (error.name === "AbortError") return;
    fail("The server does not answer. Is it still running?");
  }
  if (state.asking === asking) $("answer").classList.remove("busy");
}

function fail(message, code) {
  $("error").textContent = code ? `${message} (${code})` : message;
  for (const id of ["waiting", "result", "routing", "spectrum"]) $(id).hidden = true;
  $("cards-hint").textContent = "weights kept";
  drawHand($("cards"), hand());
  $("error").hidden = false;
}

function show(answer) {
  state.answer = answer;
  for (const id of ["waiting", "error"]) $(id).hidden = true;
  for (const id of ["result", "spectrum"]) $(id).hidden = false;
  $("routing").hidden = Object.keys(answer.distances).length === 0;
  $("label").textContent = answer.label ?? "No class";
  $("share").textContent = answer.abstained ? "" : percent(answer.probabilities[answer.label]);
  $("sentence").textContent = answer.explanation.sentence;
  $("unknown").hidden = !(answer.unknown_spectrum || answer.pooled_early);
  $("unknown").textContent = warning(answer);
  showClasses();
  showGate(answer);
  announce(answer);
}

function warning(answer) {
  if (answer.abstained) return "Unknown spectrum, and no card is sure: no class is named";
  if (answer.unknown_spectrum) return "Unknown spectrum: trust this answer less";
  return "Time was up: fewer cards answered than the gate wanted";
}

function showClasses() {
  const ranked = Object.entries(state.answer.probabilities).sort((a, b) => b[1] - a[1]);
  const shown = state.all ? ranked : ranked.slice(0, SHOWN_CLASSES);
  drawBars($("classes"), shown.map(([name, share], i) => (
    { name, share, value: percent(share), colour: i ? "var(--quiet)" : "var(--accent)", first: i === 0 })));
  $("more").hidden = ranked.length <= SHOWN_CLASSES;
  $("more").textContent = state.all ? "Fewer classes" : `All ${ranked.length} classes`;
  $("more").setAttribute("aria-expanded", String(state.all));
}

// Every card of the deck with its share of the answer; null shares before there is one.
function hand(answer = null) {
  const weights = new Map((answer?.cards ?? []).map((card) => [card.name, card.weight]));
  const colours = colourOf();
  return state.deck.cards.map(({ name, augmentation, density }) => (
    { name, augmentation, density, weight: answer && (weights.get(name) ?? 0), colour: colours.get(augmentation) ?? "var(--ink)" }));
}

function colourOf() {
  return new Map(state.deck.augmentations.map((name, i) => [name, seriesColour(i)]));
}

function showGate({ distances, explanation }) {
  const colours = colourOf();
  const ranked = Object.entries(distances).sort((a, b) => a[1] - b[1]);
  const nearest = ranked.length ? ranked[0][0] : null;
  const limit = explanation.unknown_beyond;
  const most = Math.max(...ranked.map(([, distance]) => distance), limit === null ? 0 : limit * 1.15, 1e-6);
  drawBars($("distances"), Object.entries(distances).map(([name, distance]) => (
    { name, value: distance.toFixed(2), share: distance / most, colour: colours.get(name), first: name === nearest })),
  limit === null ? null : limit / most);
  $("limit-value").textContent = limit === null ? "" : limit.toFixed(2);
  $("cards-hint").textContent = "share of the answer";
  drawHand($("cards"), hand(state.answer));
  drawProfile($("profile"), explanation, colours, nearest);
  drawPlane($("plane"), explanation.picture, explanation.size);
}

// A screen reader hears the outcome once the sliders rest, not every step on the way.
function announce(answer) {
  clearTimeout(state.timer);
  state.timer = setTimeout(() => {
    const unknown = answer.unknown_spectrum ? " Unknown spectrum." : "";
    $("status").textContent = `${$("label").textContent} ${$("share").textContent}.${unknown} ${answer.explanation.sentence}`;
  }, 700);
}

function listen() {
  $("file").addEventListener("change", (event) => {
    if (event.target.files[0]) take(event.target.files[0]);
    event.target.value = ""; // so that choosing the same file again counts
  });
  $("choose").addEventListener("click", () => $("file").click());
  $("example").addEventListener("click", async () => take(await drawExample().convertToBlob({ type: "image/png" })));
  $("reset").addEventListener("click", () => { setSliders(0, 0); preview(); ask(); });
  $("more").addEventListener("click", () => { state.all = !state.all; showClasses(); });
  let pending = 0;
  addEventListener("resize", () => { if (state.answer && !$("spectrum").hidden) showGate(state.answer); });
  for (const id of ["noise", "blur"]) {
    $(id).addEventListener("input", () => {
      showSliders();
      cancelAnimationFrame(pending);
      pending = requestAnimationFrame(() => { preview(); ask(); });
    });
  }
  const drop = $("drop");
  document.addEventListener("dragover", (event) => { event.preventDefault(); drop.classList.add("over"); });
  document.addEventListener("dragleave", (event) => { if (!event.relatedTarget) drop.classList.remove("over"); });
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    drop.classList.remove("over");
    if (event.dataTransfer.files[0]) take(event.dataTransfer.files[0]);
  });
  document.addEventListener("paste", (event) => {
    if (event.clipboardData.files[0]) take(event.clipboardData.files[0]);
  });
}

showSliders();
loadDeck().then(listen, () => { $("deck").textContent = "The deck’s description cannot be loaded."; });

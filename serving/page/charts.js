// Bars, cards and the two spectrum pictures. Text is always set as text, never as HTML.

const SVG = "http://www.w3.org/2000/svg";
const SERIES = 6;
const PLANE_COLOURS = [[24, 20, 48], [62, 46, 110], [150, 62, 110], [226, 120, 80], [252, 222, 160]];

export const seriesColour = (index) => `var(--series-${index % SERIES})`;
export const percent = (share) => (share > 0.995 && share < 1 ? ">99%" : `${Math.round(share * 100)}%`);

function element(tag, className, text) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text !== undefined) node.textContent = text;
  return node;
}

// rows: [{name, value, share (0..1 of the track), colour, first}]; limit: share of the track to mark, or null.
// Rows that stay are updated in place, so that their bars glide.
export function drawBars(list, rows, limit = null) {
  while (list.children.length > rows.length) list.lastChild.remove();
  rows.forEach((row, index) => {
    let item = list.children[index];
    if (!item) {
      item = element("li");
      const track = element("span", "track");
      track.append(element("div", "fill"));
      track.setAttribute("aria-hidden", "true");
      item.append(element("span", "name"), track, element("span", "value"));
      list.append(item);
    }
    const [name, track, value] = item.children;
    item.className = row.first ? "first" : "";
    name.textContent = name.title = row.name;
    value.textContent = row.value;
    track.firstChild.style.width = `${Math.min(100, row.share * 100)}%`;
    track.firstChild.style.background = row.colour;
    track.querySelector(".limit")?.remove();
    if (limit !== null) {
      const mark = element("div", "limit");
      mark.style.left = `${limit * 100}%`;
      track.append(mark);
    }
  });
}

// cards: every card of the deck [{name, augmentation, density, weight, colour}]; weight 0 where it did not run, null
// before the first answer.
export function drawHand(list, cards) {
  list.replaceChildren(...cards.map((card) => {
    const item = element("li", card.weight > 0 ? "plays" : "idle");
    item.style.setProperty("--series", card.colour);
    const fill = element("span", "fill");
    fill.style.width = `${card.weight * 100}%`;
    fill.style.background = card.colour;
    const kept = `${(card.density * 100).toFixed(card.density < 0.1 ? 1 : 0)}%`;
    const weight = card.weight === null ? kept : card.weight > 0 ? percent(card.weight) : "not run";
    item.append(element("span", "name", card.name), element("span", "augmentation", card.augmentation),
      element("span", "weight", weight), fill);
    return item;
  }));
}

// `colour` is set by property: the page's policy refuses style attributes.
function svg(tag, { colour, ...attributes }, text) {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  if (colour) node.style[tag === "text" ? "fill" : "stroke"] = colour;
  if (text !== undefined) node.textContent = text;
  return node;
}

// Labels at the right end of the lines, pushed apart where they would overlap.
function spread(labels, gap, low, high) {
  labels.sort((a, b) => a.y - b.y);
  labels.forEach((label, i) => { label.y = Math.max(label.y, i ? labels[i - 1].y + gap : low); });
  for (let i = labels.length - 1; i >= 0; i -= 1) {
    labels[i].y = Math.min(labels[i].y, i < labels.length - 1 ? labels[i + 1].y - gap : high);
  }
}

// explanation: {frequencies, profile, references: {name: profile}}; nearest: the name of the nearest reference, or null.
export function drawProfile(chart, explanation, colours, nearest) {
  const width = Math.max(chart.clientWidth, 280), height = Math.max(chart.clientHeight, 200);
  chart.setAttribute("viewBox", `0 0 ${width} ${height}`);
  const box = { left: 34, right: width - 92, top: 30, bottom: height - 48 };
  const { frequencies, profile, references } = explanation;
  const all = [profile, ...Object.values(references)].flat();
  const low = Math.floor(Math.min(...all)), high = Math.ceil(Math.max(...all));
  const last = frequencies[frequencies.length - 1];
  const x = (f) => box.left + ((f - 1) / Math.max(last - 1, 1)) * (box.right - box.left);
  const y = (v) => box.bottom - ((v - low) / Math.max(high - low, 1e-6)) * (box.bottom - box.top);
  const path = (values) => values.map((v, i) => `${i ? "L" : "M"}${x(frequencies[i]).toFixed(1)} ${y(v).toFixed(1)}`).join("");
  const nodes = [];
  for (let v = low; v <= high; v += 1) {
    nodes.push(svg("line", { class: "grid", x1: box.left, x2: box.right, y1: y(v), y2: y(v) }),
      svg("text", { x: box.left - 10, y: y(v) + 4, "text-anchor": "end" }, String(v).replace("-", "\u2212")));
  }
  for (const f of [1, Math.round(last / 4), Math.round(last / 2), Math.round((3 * last) / 4), last]) {
    nodes.push(svg("text", { x: x(f), y: box.bottom + 20, "text-anchor": "middle" }, String(f)));
  }
  nodes.push(svg("text", { x: (box.left + box.right) / 2, y: box.bottom + 42, "text-anchor": "middle" }, "cycles per image"));
  nodes.push(svg("text", { x: 0, y: 12 }, "log amplitude"));
  const labels = [];
  for (const [name, values] of Object.entries(references)) {
    const colour = colours.get(name);
    nodes.push(svg("path", { class: `line reference${name === nearest ? " near" : ""}`, d: path(values), colour }));
    labels.push({ text: name, y: y(values[values.length - 1]), colour });
  }
  nodes.push(svg("path", { class: "line image", d: path(profile) }));
  labels.push({ text: "this image", y: y(profile[profile.length - 1]), colour: "var(--ink)" });
  spread(labels, 17, box.top, box.bottom);
  for (const label of labels) {
    nodes.push(svg("text", { class: "series-label", x: box.right + 10, y: label.y + 4, colour: label.colour }, label.text));
  }
  chart.replaceChildren(...nodes);
  const near = nearest === null ? "" : ` It lies nearest to ${nearest}.`;
  const range = `from ${profile[0].toFixed(1)} at 1 cycle to ${profile[profile.length - 1].toFixed(1)} at ${last}`;
  chart.setAttribute("aria-label", `Log amplitude of this image by frequency, ${range} cycles per image.${near}`);
}

export function drawPlane(canvas, picture, size) {
  const values = Uint8Array.from(atob(picture), (c) => c.charCodeAt(0));
  const data = new ImageData(size, size);
  values.forEach((value, i) => {
    const at = (value / 255) * (PLANE_COLOURS.length - 1);
    const step = Math.min(Math.floor(at), PLANE_COLOURS.length - 2);
    for (let c = 0; c < 3; c += 1) {
      data.data[4 * i + c] = PLANE_COLOURS[step][c] + (at - step) * (PLANE_COLOURS[step + 1][c] - PLANE_COLOURS[step][c]);
    }
    data.data[4 * i + 3] = 255;
  });
  canvas.width = canvas.height = size;
  canvas.getContext("2d").putImageData(data, 0, 0);
}

// What the sliders do to the pixels: blur, then noise, as light passes a lens before it meets a sensor.
// Both are measured in pixels of the deck, so that they survive the server's resizing of a large photograph.

const LARGEST = 1024;

// The image on white at its own size, or with its longer side LARGEST where it is larger.
export function canvasOf(bitmap) {
  const scale = Math.min(1, LARGEST / Math.max(bitmap.width, bitmap.height));
  const canvas = new OffscreenCanvas(Math.max(1, Math.round(bitmap.width * scale)), Math.max(1, Math.round(bitmap.height * scale)));
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.fillStyle = "white";
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.imageSmoothingQuality = "high";
  context.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  return canvas;
}

// New ImageData of `canvas` with noise (standard deviation on 0..1) and blur (sigma in pixels of a deck of `size`).
export function worsen(canvas, { noise, blur }, size) {
  const { width, height } = canvas;
  const data = canvas.getContext("2d").getImageData(0, 0, width, height);
  const scale = Math.min(width, height) / size;
  let planes = [0, 1, 2].map((c) => Float32Array.from({ length: width * height }, (_, i) => data.data[4 * i + c]));
  if (blur > 0) planes = planes.map((plane) => gaussianBlur(plane, width, height, blur * scale));
  if (noise > 0) addNoise(planes, width, height, noise * 255, Math.max(1, Math.round(scale)));
  // Uint8ClampedArray rounds and clips.
  planes.forEach((plane, c) => plane.forEach((value, i) => { data.data[4 * i + c] = value; }));
  return data;
}

function gaussianBlur(plane, width, height, sigma) {
  const radius = Math.max(1, Math.ceil(3 * sigma));
  const kernel = Array.from({ length: 2 * radius + 1 }, (_, i) => Math.exp(-((i - radius) ** 2) / (2 * sigma * sigma)));
  const sum = kernel.reduce((a, b) => a + b);
  const along = (source, length, lines, step, jump) => {
    const out = new Float32Array(source.length);
    for (let line = 0; line < lines; line += 1) {
      for (let at = 0; at < length; at += 1) {
        let total = 0;
        for (let k = -radius; k <= radius; k += 1) {
          const near = Math.min(length - 1, Math.max(0, at + k));
          total += kernel[k + radius] * source[line * jump + near * step];
        }
        out[line * jump + at * step] = total / sum;
      }
    }
    return out;
  };
  return along(along(plane, width, height, 1, width), height, width, width, 1);
}

// The same noise for the same size every time: a slider then changes its strength, not its pattern.
function addNoise(planes, width, height, deviation, grain) {
  const columns = Math.ceil(width / grain), rows = Math.ceil(height / grain);
  planes.forEach((plane, channel) => {
    const normal = normals(channel + 1);
    const field = Float32Array.from({ length: columns * rows }, () => normal() * deviation);
    for (let y = 0; y < height; y += 1) {
      const row = Math.floor(y / grain) * columns;
      for (let x = 0; x < width; x += 1) plane[y * width + x] += field[row + Math.floor(x / grain)];
    }
  });
}

function normals(seed) {
  let state = seed * 0x9e3779b9;
  const uniform = () => { // mulberry32
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
  return () => Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform());
}

// A ship at sea, drawn here, for whoever has no image at hand.
export function drawExample() {
  const canvas = new OffscreenCanvas(96, 96);
  const context = canvas.getContext("2d");
  const fill = (colour, points) => {
    context.fillStyle = colour;
    context.beginPath();
    points.forEach(([x, y]) => context.lineTo(x, y));
    context.fill();
  };
  const sky = context.createLinearGradient(0, 0, 0, 58);
  sky.addColorStop(0, "#7fa9cf");
  sky.addColorStop(1, "#dfe8ea");
  context.fillStyle = sky;
  context.fillRect(0, 0, 96, 58);
  const sea = context.createLinearGradient(0, 56, 0, 96);
  sea.addColorStop(0, "#4d7f96");
  sea.addColorStop(1, "#1f4a63");
  context.fillStyle = sea;
  context.fillRect(0, 56, 96, 40);
  for (let i = 0; i < 70; i += 1) {
    context.fillStyle = `rgb(255 255 255 / ${0.05 + 0.1 * ((i * 7) % 5) / 5})`;
    context.fillRect((i * 37) % 96, 60 + ((i * 23) % 34), 3 + (i % 6), 1);
  }
  fill("#8c2f2a", [[12, 56], [86, 54], [78, 70], [20, 70]]);
  fill("#30363c", [[14, 60], [84, 58], [81, 64], [17, 64]]);
  fill("#f1ede4", [[26, 56], [26, 44], [66, 43], [66, 55]]);
  fill("#e0dbd0", [[34, 44], [34, 34], [54, 34], [54, 43]]);
  fill("#c9772f", [[58, 43], [58, 30], [66, 30], [66, 43]]);
  for (let i = 0; i < 6; i += 1) fill("#3d5566", [[29 + i * 6, 48], [32 + i * 6, 48], [32 + i * 6, 51], [29 + i * 6, 51]]);
  fill("#4a4a48", [[43, 34], [45, 34], [45, 18], [43, 18]]);
  return canvas;
}

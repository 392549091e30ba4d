// What the page was made from: arrays out of base64, sheets of thumbnails when they are first seen.

const data = JSON.parse(document.getElementById("data").textContent);
const N = data.num_patches;

function bytesOf(text) {
  return Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
}

const imageOf = new Uint32Array(bytesOf(data.image_N).buffer);
const topOf = new Uint32Array(bytesOf(data.top_N).buffer);
const leftOf = new Uint32Array(bytesOf(data.left_N).buffer);
const placeOf = new Uint32Array(bytesOf(data.place_N).buffer);

for (const table of data.tables) {
  table.scores = new Float64Array(bytesOf(table.scores_N).buffer);
  table.orders = {};
  table.positive = table.scores.every((score) => score >= 0) && table.scores.some((s) => s > 0);
}

for (const preset of data.presets) {
  const bits = bytesOf(preset.kept_bits);
  preset.kept = Uint8Array.from({ length: N }, (_, id) => (bits[id >> 3] >> (id & 7)) & 1);
}

/** Ids of each image's patches. */
const patchesOf = data.images.map(() => []);
imageOf.forEach((image, id) => patchesOf[image].push(id));

/** Patch ids of a table in the order of a rule. */
function orderOf(table, rule) {
  table.orders[rule] ??= ranked(table.scores, rule);
  return table.orders[rule];
}

const urls = new Map();

/** Address of an embedded picture, such as "thumb-0". */
function urlOf(name) {
  if (!urls.has(name)) {
    const block = document.getElementById(name);
    urls.set(name, URL.createObjectURL(new Blob([bytesOf(block.textContent)], { type: "image/webp" })));
    block.remove();
  }
  return urls.get(name);
}

const pictures = new Map();

/** A promise of the decoded picture. */
function pictureOf(name) {
  if (!pictures.has(name)) {
    const picture = new Image();
    picture.src = urlOf(name);
    pictures.set(name, picture.decode().then(() => picture));
  }
  return pictures.get(name);
}

/** Sheet, column and row of a patch's tile. */
function tileOf(id) {
  const inSheet = placeOf[id] % data.per_sheet;
  return {
    sheet: Math.floor(placeOf[id] / data.per_sheet),
    column: inSheet % data.columns,
    row: Math.floor(inSheet / data.columns),
  };
}

const whole = new Intl.NumberFormat("en");
const percent = new Intl.NumberFormat("en", {
  style: "percent", minimumFractionDigits: 1, maximumFractionDigits: 1,
});

function scoreText(score) {
  if (score === 0) return "0";
  return Math.abs(score) < 0.01 ? score.toExponential(3) : String(Number(score.toPrecision(4)));
}

/** An element with properties and children; text goes in as text, never as HTML. */
function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

function byId(id) {
  return document.getElementById(id);
}

// A map of each source image: bright where a kept window lies, dark elsewhere, a dot a window.

const CAPTION = 40; // px of text below a map
let imageGrid = null;

function mapSide() {
  return window.innerWidth < 700 ? 150 : 180;
}

function makeMap() {
  const tile = element("button", { type: "button", className: "map" });
  tile.append(element("canvas"), element("b"), element("span"));
  tile.addEventListener("click", () => {
    const { path } = data.images[tile.image];
    setFilter(state.filter === path ? "" : path);
  });
  return tile;
}

function fillMap(tile, image, width, height) {
  const { path } = data.images[image];
  tile.image = image;
  const kept = patchesOf[image].reduce((sum, id) => sum + Number(view.status[id] === KEPT), 0);
  const [canvas, name, share] = tile.children;
  name.textContent = path;
  tile.title = path;
  share.textContent = `${kept} of ${patchesOf[image].length} kept`;
  tile.setAttribute("aria-pressed", String(state.filter === path));
  tile.setAttribute("aria-label", `${path}: ${share.textContent}`);
  pictureOf(`image-${image}`).then((picture) => {
    if (tile.image === image) drawMap(canvas, picture, image, width - 4, height - CAPTION);
  });
}

/** The picture, a veil over all of it but the kept windows, and a dot in the middle of each. */
function drawMap(canvas, picture, image, width, height) {
  const { height: imageHeight, width: imageWidth } = data.images[image];
  const ratio = window.devicePixelRatio || 1;
  const fit = Math.min(width / imageWidth, height / imageHeight) * ratio;
  const w = Math.round(imageWidth * fit), h = Math.round(imageHeight * fit);
  canvas.width = w;
  canvas.height = h;
  canvas.style.width = `${w / ratio}px`;
  canvas.style.height = `${h / ratio}px`;
  const pen = canvas.getContext("2d");
  const ids = patchesOf[image], side = data.size * fit;
  pen.fillStyle = "rgba(12, 12, 20, 0.72)";
  pen.fillRect(0, 0, w, h);
  for (const id of ids) {
    if (view.status[id] === KEPT) pen.clearRect(leftOf[id] * fit, topOf[id] * fit, side, side);
  }
  pen.globalCompositeOperation = "destination-over";
  pen.drawImage(picture, 0, 0, w, h);
  pen.globalCompositeOperation = "source-over";
  const dot = Math.min(Math.max(1.5 * ratio, data.stride * fit * 0.16), 5 * ratio);
  const dots = [color("map-dropped"), color("map-kept"), color("map-skipped")];
  for (const id of ids) {
    const x = (leftOf[id] + data.size / 2) * fit, y = (topOf[id] + data.size / 2) * fit;
    pen.fillStyle = "rgba(0, 0, 0, 0.55)";
    pen.fillRect(x - dot / 2 - ratio / 2, y - dot / 2 - ratio / 2, dot + ratio, dot + ratio);
    pen.fillStyle = dots[view.status[id]];
    pen.fillRect(x - dot / 2, y - dot / 2, dot, dot);
  }
}

function drawImages() {
  const passes = imagesShown();
  imageGrid.show(data.images.map((_, image) => image).filter((image) => passes[image]));
}

function startImages() {
  const legend = element("p", { className: "legend" });
  for (const status of ["kept", "skipped", "dropped"]) {
    legend.append(element("span", { className: `key map-${status}` }), `${status} `);
  }
  legend.append("windows; press an image to see its patches alone, and again to see all");
  const host = element("div");
  byId("panel-images").append(legend, host);
  imageGrid = new Grid(host, {
    label: "source images", make: makeMap, fill: fillMap, gap: 10,
    least: mapSide, tall: (width) => Math.round(width * 0.75) + CAPTION,
  });
}

// One patch closely: a larger thumbnail, where its error is, and its numbers.

const RAMP = [[24, 20, 40], [0, 114, 178], [86, 180, 233], [240, 228, 66], [255, 255, 240]];
let detailed = null;

/** Show a patch; nothing moves, since the place is always there. */
function showDetail(id) {
  detailed = id;
  drawDetail();
}

function drawDetail() {
  if (detailed === null) return;
  const id = detailed, { path } = data.images[imageOf[id]];
  const text = byId("detail-text");
  const table = tableNow();
  const lines = [
    element("strong", { textContent: path, title: path }),
    element("span", { textContent: `row ${topOf[id]}, column ${leftOf[id]}, ${data.size} px` }),
    element("span", { textContent: `score ${scoreText(table.scores[id])}` }),
    element("span", {
      textContent: `rank ${whole.format(view.rank[id])} of ${whole.format(N)}`
        + `${view.rank[id] === 0 ? ` (the ${state.rule === "des" ? "hardest" : "easiest"})` : ""}`,
    }),
    element("span", { className: `status ${STATUS[view.status[id]]}`, textContent: STATUS[view.status[id]] }),
  ];
  if (!table.maps) {
    lines.push(element("small", {}, "No error map. Run 'srprune score --maps'."));
  } else {
    lines.push(element("small", {
      textContent: `error, logarithmic: dark ${shortNumber(table.maps.low)}, bright ${shortNumber(table.maps.high)}`,
    }));
  }
  text.replaceChildren(...lines);
  const { sheet } = tileOf(id);
  pictureOf(`thumb-${sheet}`).then((picture) => {
    if (detailed === id) drawTile(byId("detail-thumb"), picture, id, data.thumb_side);
  });
  const canvas = byId("detail-map");
  canvas.classList.toggle("none", !table.maps);
  if (!table.maps) return;
  pictureOf(`map-${state.table}-${sheet}`).then((picture) => {
    if (detailed !== id) return;
    drawTile(canvas, picture, id, table.maps.side);
    tint(canvas);
  });
}

function drawTile(canvas, picture, id, side) {
  const { column, row } = tileOf(id);
  canvas.width = side;
  canvas.height = side;
  const pen = canvas.getContext("2d", { willReadFrequently: true }); // tinting reads
  pen.drawImage(picture, column * side, row * side, side, side, 0, 0, side, side);
}

/** Grey levels as colours, from dark over blue to bright. */
function tint(canvas) {
  const pen = canvas.getContext("2d");
  const pixels = pen.getImageData(0, 0, canvas.width, canvas.height);
  for (let i = 0; i < pixels.data.length; i += 4) {
    const place = (pixels.data[i] / 255) * (RAMP.length - 1);
    const k = Math.min(Math.floor(place), RAMP.length - 2);
    for (let c = 0; c < 3; c += 1) {
      pixels.data[i + c] = RAMP[k][c] + (place - k) * (RAMP[k + 1][c] - RAMP[k][c]);
    }
  }
  pen.putImageData(pixels, 0, 0);
}

function startDetail() {
  // where one table has maps, their place is kept for all
  byId("detail").classList.toggle("with-map", data.tables.some((table) => table.maps));
  watchers.push(drawDetail);
  const touch = matchMedia("(hover: none)").matches;
  byId("detail-text").replaceChildren(element("small", {},
    touch ? "Tap a patch." : "Point at a patch, or step to it with the arrow keys."));
}

// The chart: sorted scores as bars above, their cumulative share below, and the cuts through both.

const plot = byId("plot");
const cuts = { first: byId("cut-first"), end: byId("cut-end"), band: byId("band") };
const chart = { width: 0, height: 0, left: 46, right: 12, top: 30, gap: 30, bottom: 34 };
const PAGE = 0.05; // share of N that Page Up and Page Down move a cut by

/** The horizontal place of a rank, px, and the rank at a place. */
function xOf(rank) {
  return chart.left + (rank / N) * (chart.width - chart.left - chart.right);
}
function rankAt(x) {
  return ((x - chart.left) / (chart.width - chart.left - chart.right)) * N;
}

const colors = new Map(); // asked for hundreds of times a frame

function color(name) {
  if (!colors.has(name)) {
    const style = getComputedStyle(document.documentElement);
    colors.set(name, style.getPropertyValue(`--${name}`).trim());
  }
  return colors.get(name);
}

function measureChart() {
  const box = byId("chart").getBoundingClientRect();
  const ratio = window.devicePixelRatio || 1;
  Object.assign(chart, { width: box.width, height: box.height, ratio });
  plot.width = Math.round(box.width * ratio);
  plot.height = Math.round(box.height * ratio);
}

function drawChart() {
  if (!chart.width) return;
  const pen = plot.getContext("2d");
  pen.setTransform(chart.ratio, 0, 0, chart.ratio, 0, 0);
  pen.clearRect(0, 0, chart.width, chart.height);
  pen.font = "12px system-ui, sans-serif";
  const inner = chart.height - chart.top - chart.gap - chart.bottom;
  const bars = { top: chart.top + 14, bottom: chart.top + inner * 0.46 };
  const curve = { top: bars.bottom + chart.gap, bottom: chart.height - chart.bottom };
  drawBars(pen, bars);
  drawCurve(pen, curve);
  drawAxis(pen, curve.bottom);
  placeCuts();
}

/** One bar for every two px: the mean score of its ranks, coloured by how many of them are kept. */
function drawBars(pen, { top, bottom }) {
  const { scores, positive } = tableNow();
  const count = Math.max(1, Math.min(N, Math.floor((xOf(N) - xOf(0)) / 2)));
  const means = [], kept = [];
  for (let bar = 0; bar < count; bar += 1) {
    const start = Math.floor((bar * N) / count), end = Math.floor(((bar + 1) * N) / count);
    let sum = 0, inside = 0;
    for (let rank = start; rank < end; rank += 1) {
      sum += scores[view.order[rank]] / (end - start);
      inside += Number(view.status[view.order[rank]] === KEPT);
    }
    means.push(sum);
    kept.push(inside / (end - start));
  }
  const high = Math.max(...means), least = Math.min(...means);
  const above = positive ? means.filter((mean) => mean > 0) : [];
  const low = Math.min(...above);
  const logarithmic = above.length > 0 && high / low > 100; // else the small ones cannot be seen
  const floor = logarithmic ? Math.max(low, high / 1e6) / 1.5 : Math.min(0, least);
  const reach = logarithmic ? Math.log(high / floor) : high - floor || 1;
  const share = (value) => (logarithmic ? Math.log(Math.max(value, floor) / floor) : value - floor) / reach;
  const step = (xOf(N) - xOf(0)) / count;
  means.forEach((mean, bar) => {
    const x = xOf(0) + bar * step, height = share(mean) * (bottom - top);
    pen.fillStyle = color("dropped");
    pen.fillRect(x, bottom - height, Math.max(1, step - 0.4), height);
    pen.fillStyle = color("kept");
    pen.fillRect(x, bottom - height * kept[bar], Math.max(1, step - 0.4), height * kept[bar]);
  });
  pen.fillStyle = color("ink");
  pen.textAlign = "right";
  const scale = logarithmic ? ", logarithmic" : "";
  pen.fillText(`${tableNow().method} ${tableNow().noun}${scale}`, xOf(N), chart.top + 5);
  pen.fillStyle = color("faint");
  pen.fillText(shortNumber(high), chart.left - 6, top + 6);
  pen.fillText(shortNumber(logarithmic ? floor : Math.min(0, least)), chart.left - 6, bottom);
  line(pen, xOf(0), bottom + 0.5, xOf(N), bottom + 0.5, color("line"));
}

function drawCurve(pen, { top, bottom }) {
  pen.fillStyle = color("ink");
  pen.textAlign = "right";
  if (!tableNow().positive) {
    pen.fillText("no shares of a total: some scores are negative, or all are 0", xOf(N), top - 8);
    return;
  }
  pen.fillText(`cumulative share of the ${tableNow().noun}`, xOf(N), top - 8);
  const y = (share) => bottom - share * (bottom - top);
  for (const share of [0, 0.5, 1]) {
    line(pen, xOf(0), Math.round(y(share)) + 0.5, xOf(N), Math.round(y(share)) + 0.5, color("line"));
    pen.fillStyle = color("faint");
    pen.fillText(`${100 * share}%`, chart.left - 6, y(share) + 4);
  }
  const ranks = [];
  for (let x = xOf(0); x < xOf(N); x += 1) ranks.push(Math.round(rankAt(x)));
  ranks.push(N);
  const share = (rank) => view.sums[rank] / view.sums[N];
  if (state.preset === null) {
    const end = state.first + state.size;
    const inside = [state.first, ...ranks.filter((r) => r > state.first && r < end), end];
    pen.beginPath();
    pen.moveTo(xOf(state.first), y(0));
    inside.forEach((rank) => pen.lineTo(xOf(rank), y(share(rank))));
    pen.lineTo(xOf(end), y(0));
    pen.globalAlpha = 0.22;
    pen.fillStyle = color("kept");
    pen.fill();
    pen.globalAlpha = 1;
  }
  pen.beginPath();
  ranks.forEach((rank) => pen.lineTo(xOf(rank), y(share(rank))));
  pen.strokeStyle = color("ink");
  pen.lineWidth = 1.8;
  pen.stroke();
}

function drawAxis(pen, bottom) {
  pen.fillStyle = color("faint");
  for (const share of [0, 0.25, 0.5, 0.75, 1]) {
    pen.textAlign = share === 1 ? "right" : share === 0 ? "left" : "center";
    pen.fillText(`${100 * share}%`, xOf(share * N), bottom + 15);
  }
  pen.textAlign = "center";
  const start = state.rule === "des" ? "hardest" : "easiest";
  pen.fillText(`patches, ${start} first`, xOf(N / 2), bottom + 30);
}

function line(pen, x0, y0, x1, y1, ink) {
  pen.beginPath();
  pen.moveTo(x0, y0);
  pen.lineTo(x1, y1);
  pen.lineWidth = 1;
  pen.strokeStyle = ink;
  pen.stroke();
}

function shortNumber(value) {
  if (value === 0) return "0";
  const plain = Math.abs(value) >= 0.01 && Math.abs(value) < 10000;
  return plain ? String(Number(value.toPrecision(2))) : value.toExponential(0);
}

function placeCuts() {
  const end = state.first + state.size;
  const away = state.preset !== null;
  cuts.first.style.transform = `translateX(${xOf(state.first)}px)`;
  cuts.end.style.transform = `translateX(${xOf(end)}px)`;
  cuts.band.style.transform = `translateX(${xOf(state.first)}px)`;
  cuts.band.style.width = `${Math.max(0, xOf(end) - xOf(state.first))}px`;
  Object.values(cuts).forEach((cut) => cut.classList.toggle("away", away));
  tell(cuts.first, 0, end - 1, state.first, `offset ${shareOf(state.first, N)}, ${whole.format(state.first)} patches skipped`);
  tell(cuts.end, state.first + 1, N, end, `ratio ${shareOf(state.size, N)}, ${whole.format(state.size)} patches kept`);
  tell(cuts.band, 0, N - state.size, state.first, `ranks ${whole.format(state.first)} to ${whole.format(end - 1)} kept`);
}

function tell(slider, low, high, now, text) {
  slider.setAttribute("aria-valuemin", low);
  slider.setAttribute("aria-valuemax", high);
  slider.setAttribute("aria-valuenow", now);
  slider.setAttribute("aria-valuetext", text);
}

/** Put a cut, or the whole window, at a rank. */
function moveCut(name, rank, options) {
  const end = state.first + state.size;
  if (name === "first") {
    const first = Math.min(Math.max(Math.round(rank), 0), end - 1);
    changeWindow(first, end - first, options);
  } else if (name === "end") {
    changeWindow(state.first, Math.min(Math.round(rank), N) - state.first, options);
  } else {
    changeWindow(Math.min(Math.max(rank, 0), N - state.size), state.size, options);
  }
}

function rankOfCut(name) {
  return name === "end" ? state.first + state.size : state.first;
}

function startDrag(name, event) {
  if (event.button > 0) return;
  event.preventDefault();
  const target = cuts[name];
  target.focus({ preventScroll: true });
  target.setPointerCapture(event.pointerId);
  const at = (e) => rankAt(e.clientX - byId("chart").getBoundingClientRect().left);
  const grip = rankOfCut(name) - at(event);
  let gesture = true;
  const move = (e) => {
    moveCut(name, at(e) + grip, { gesture });
    gesture = false;
    lastChange = Infinity; // a drag is one gesture, however long it rests
  };
  const stop = () => {
    lastChange = performance.now();
    target.removeEventListener("pointermove", move);
  };
  target.addEventListener("pointermove", move);
  target.addEventListener("lostpointercapture", stop, { once: true });
}

function keyDown(name, event) {
  const step = event.shiftKey ? 1 : Math.max(1, Math.round(N / 1000));
  const page = Math.max(1, Math.round(N * PAGE));
  const moves = {
    ArrowLeft: -step, ArrowDown: -step, ArrowRight: step, ArrowUp: step,
    PageDown: -page, PageUp: page, Home: -N, End: N,
  };
  if (!(event.key in moves)) return;
  event.preventDefault();
  moveCut(name, rankOfCut(name) + moves[event.key]);
}

function startChart() {
  for (const [name, cut] of Object.entries(cuts)) {
    cut.addEventListener("pointerdown", (event) => startDrag(name, event));
    cut.addEventListener("keydown", (event) => keyDown(name, event));
  }
  // beside the band a press takes the nearer cut there
  plot.addEventListener("pointerdown", (event) => {
    const rank = rankAt(event.clientX - byId("chart").getBoundingClientRect().left);
    const name = rank < state.first ? "first" : "end";
    moveCut(name, rank, { gesture: true });
    startDrag(name, event);
  });
  new ResizeObserver(() => { measureChart(); drawChart(); }).observe(byId("chart"));
  watchers.push(drawChart);
}

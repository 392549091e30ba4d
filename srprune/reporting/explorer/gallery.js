// The gallery: tabs, and what stands in each of them for the window on the screen.

const TABS = ["cuts", "ends", "all", "images"];
let tab = "cuts";
let draw = 0; // which random draw
const strips = {};
let allPatches = null;

/** Up to `room` ids that pass the filter, walking from a rank in steps of 1 or -1 while it lasts. */
function walk(start, step, stop, room) {
  const found = [];
  for (let rank = start; rank !== stop && found.length < room; rank += step) {
    const id = view.order[rank];
    if (view.shown[id]) found.push(id);
  }
  return found;
}

/** What each strip shows, as functions of how many there is room for. */
const CONTENT = {
  skipped: (room) => (state.preset === null ? walk(state.first - 1, -1, -1, room) : []),
  inFirst: (room) => (state.preset === null
    ? walk(state.first, 1, state.first + state.size, room) : []),
  inEnd: (room) => (state.preset === null
    ? walk(state.first + state.size - 1, -1, state.first - 1, room) : []),
  dropped: (room) => (state.preset === null ? walk(state.first + state.size, 1, N, room) : []),
  cameIn: (room) => moved((before, now) => before !== KEPT && now === KEPT, room),
  wentOut: (room) => moved((before, now) => before === KEPT && now !== KEPT, room),
  hardest: (room) => (state.rule === "des" ? walk(0, 1, N, room) : walk(N - 1, -1, -1, room)),
  easiest: (room) => (state.rule === "des" ? walk(N - 1, -1, -1, room) : walk(0, 1, N, room)),
  random: (room) => randomKept(room),
};

/** Ids, in order, whose status changed in the gesture; with a count of all of them. */
function moved(changed, room) {
  const found = [];
  let count = 0;
  for (const id of view.order) {
    if (!view.shown[id] || !changed(view.before[id], view.status[id])) continue;
    count += 1;
    if (found.length < room) found.push(id);
  }
  found.count = count;
  return found;
}

/** Kept ids, drawn at random, each at most once. */
function randomKept(room) {
  const kept = view.order.filter((id) => view.status[id] === KEPT && view.shown[id]);
  const next = randomNumbers(draw + 1);
  const count = Math.min(room, kept.length);
  for (let place = 0; place < count; place += 1) {
    const other = place + Math.floor(next() * (kept.length - place));
    [kept[place], kept[other]] = [kept[other], kept[place]];
  }
  return [...kept.subarray(0, count)];
}

function addStrip(panel, name, title, rows, ...extra) {
  const count = element("span", { className: "count" });
  const head = element("h2", {}, element("span", { className: `key ${name}` }), title, count, ...extra);
  const host = element("div");
  byId(panel).append(element("section", { className: "strip-section" }, head, host));
  strips[name] = { panel, count, grid: thumbGrid(host, title, rows) };
  host.addEventListener("room", () => fillStrip(name));
}

function fillStrip(name) {
  const { count, grid } = strips[name];
  const ids = CONTENT[name](grid.room);
  count.textContent = "count" in ids ? ` ${whole.format(ids.count)}` : ids.length ? "" : " none";
  grid.show(ids);
}

function drawGallery() {
  const passing = view.shown.reduce((a, b) => a + b, 0);
  byId("filtered").textContent = `${whole.format(passing)} of ${whole.format(N)}`;
  for (const [name, { panel, grid }] of Object.entries(strips)) {
    if (byId(panel).hidden) continue;
    if (grid.columns) fillStrip(name);
    else grid.measure();
  }
  if (tab === "all") allPatches.show(passing === N ? view.order : view.order.filter((id) => view.shown[id]));
  if (tab === "images") drawImages();
}

function openTab(name, focus = false) {
  tab = name;
  for (const each of TABS) {
    const button = byId(`tab-${each}`);
    button.setAttribute("aria-selected", String(each === name));
    button.tabIndex = each === name ? 0 : -1;
    byId(`panel-${each}`).hidden = each !== name;
  }
  if (focus) byId(`tab-${name}`).focus();
  drawGallery();
}

function startGallery() {
  addStrip("panel-cuts", "skipped", "Skipped, just outside the first cut", 1);
  addStrip("panel-cuts", "inFirst", "Kept, just inside the first cut", 1);
  addStrip("panel-cuts", "inEnd", "Kept, just inside the second cut", 1);
  addStrip("panel-cuts", "dropped", "Dropped, just outside the second cut", 1);
  addStrip("panel-cuts", "cameIn", "Came in with the last move", 1);
  addStrip("panel-cuts", "wentOut", "Went out with the last move", 1);
  const again = element("button", { type: "button", id: "again", textContent: "Draw again" });
  again.addEventListener("click", () => { draw += 1; drawGallery(); });
  addStrip("panel-ends", "hardest", "Hardest", 2);
  addStrip("panel-ends", "easiest", "Easiest", 2);
  addStrip("panel-ends", "random", "Kept, at random", 2, again);
  const host = element("div");
  byId("panel-all").append(host);
  allPatches = thumbGrid(host, "all patches, in the order of the rule", null);
  startImages();
  TABS.forEach((name, place) => {
    const button = byId(`tab-${name}`);
    button.addEventListener("click", () => openTab(name));
    button.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (!step) return;
      event.preventDefault();
      openTab(TABS[(place + step + TABS.length) % TABS.length], true);
    });
  });
  watchers.push(drawGallery);
}

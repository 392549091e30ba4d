// What is on the screen: one table, one rule, one window of ranks (or a core-set as it is), one
// filter. Everything else follows from it, once a frame.

const DROPPED = 0, KEPT = 1, SKIPPED = 2;
const STATUS = ["dropped", "kept", "skipped"];
const GESTURE = 1200; // ms of rest after which a move counts as a new one

const state = { table: 0, rule: "des", first: 0, size: N, preset: null, filter: "" };
const view = {
  order: null, // ids in the order of table and rule
  rank: new Uint32Array(N), // by id
  status: new Uint8Array(N), // by id
  kept: 0,
  sums: new Float64Array(N + 1), // of the scores of the first k ranks, over the largest score
  shown: new Uint8Array(N), // by id: passes the filter
  before: new Uint8Array(N), // status before the gesture, by id
};
const watchers = [];
let lastChange = -Infinity;
let waiting = false;
let ordered = "";
let filtered = null;

/** The table on the screen. */
function tableNow() {
  return data.tables[state.table];
}

/** Change the state; the screen follows with the next frame. */
function change(what, { gesture = false } = {}) {
  const now = performance.now();
  if (gesture || now - lastChange > GESTURE) view.before.set(view.status);
  lastChange = now;
  Object.assign(state, what);
  derive();
  if (!waiting) {
    waiting = true;
    requestAnimationFrame(() => {
      waiting = false;
      watchers.forEach((watcher) => watcher());
    });
  }
}

/** Move the window; ranks are cut to what there is, and at least one patch stays. */
function changeWindow(first, size, options) {
  const start = Math.min(Math.max(Math.round(first), 0), N - 1);
  const count = Math.min(Math.max(Math.round(size), 1), N - start);
  change({ first: start, size: count, preset: null }, options);
}

/** Show a core-set: its window where it is one, else its patches as they are. */
function showPreset(number) {
  const preset = data.presets[number];
  if (preset.table === null) return change({ preset: number }, { gesture: true });
  return change({
    table: preset.table, rule: preset.rule, first: preset.first, size: preset.size, preset: null,
  }, { gesture: true });
}

/** Whether a core-set is the window on the screen. */
function isShown(preset, number) {
  if (state.preset !== null) return state.preset === number;
  return preset.table === state.table && preset.rule === state.rule
    && preset.first === state.first && preset.size === state.size;
}

function derive() {
  const key = `${state.table} ${state.rule}`;
  if (ordered !== key) {
    ordered = key;
    const { scores } = tableNow();
    view.order = orderOf(tableNow(), state.rule);
    const largest = scores.reduce((a, b) => Math.max(a, b), 0) || 1; // no sum overflows
    view.order.forEach((id, rank) => {
      view.rank[id] = rank;
      view.sums[rank + 1] = view.sums[rank] + scores[id] / largest;
    });
  }
  if (filtered !== state.filter) {
    filtered = state.filter;
    const passes = imagesShown();
    imageOf.forEach((image, id) => { view.shown[id] = passes[image]; });
  }
  if (state.preset !== null) {
    view.status.set(data.presets[state.preset].kept);
    view.kept = data.presets[state.preset].size;
    return;
  }
  const end = state.first + state.size;
  view.order.forEach((id, rank) => {
    view.status[id] = rank < state.first ? SKIPPED : rank < end ? KEPT : DROPPED;
  });
  view.kept = state.size;
}

/** Which images pass the filter: the one of that very name, else all whose name holds the text. */
function imagesShown() {
  const exact = data.images.some((image) => image.path === state.filter);
  const text = state.filter.trim().toLowerCase();
  return data.images.map(({ path }) =>
    Number(exact ? path === state.filter : path.toLowerCase().includes(text)));
}

/** Share of the sum of all scores that the kept patches hold. */
function heldShare() {
  if (!tableNow().positive) return null;
  if (state.preset === null) {
    return (view.sums[state.first + state.size] - view.sums[state.first]) / view.sums[N];
  }
  let held = 0;
  view.order.forEach((id, rank) => {
    if (view.status[id] === KEPT) held += view.sums[rank + 1] - view.sums[rank];
  });
  return held / view.sums[N];
}

/** Lowest and highest kept score. */
function keptRange() {
  const { scores } = tableNow();
  let low = Infinity, high = -Infinity;
  if (state.preset === null) {
    const ends = [state.first, state.first + state.size - 1].map((rank) => scores[view.order[rank]]);
    return ends.sort((a, b) => a - b);
  }
  for (let id = 0; id < N; id += 1) {
    if (view.status[id] === KEPT) {
      low = Math.min(low, scores[id]);
      high = Math.max(high, scores[id]);
    }
  }
  return [low, high];
}

/** The command that makes what is on the screen. */
function commandNow() {
  if (state.preset !== null) return data.presets[state.preset].command;
  const words = ["srprune select", `--ratio ${shareOf(state.size, N)}`];
  words.push(`--offset ${shareOf(state.first, N)}`, `--rule ${state.rule}`);
  words.push(`--scores ${tableNow().quoted}`);
  if (data.options) words.push(data.options);
  return words.join(" ");
}

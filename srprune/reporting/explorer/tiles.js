// Grids of tiles: only those on the screen exist, however many there are.

const SPARE = 2; // rows kept ready above and below what is seen
const PADDING = 3; // px around a grid, for focus rings

class Grid {
  /**
   * make() gives an empty tile, fill(tile, item, width, height) shows an item on it; tiles are at
   * least least() px wide and as high as tall(width). With `rows` the grid has so many, else it
   * scrolls.
   */
  constructor(host, { label, make, fill, least, tall, rows = null, gap = 6 }) {
    Object.assign(this, { host, make, fill, least, tall, rows, gap, items: [], current: 0 });
    this.sheet = element("div", { className: "sheet" });
    host.classList.add("grid", rows === null ? "scrolls" : "strip");
    host.setAttribute("role", "group");
    host.setAttribute("aria-label", label);
    host.append(this.sheet);
    this.tiles = new Map(); // by place
    this.spare = [];
    host.addEventListener("scroll", () => this.render(), { passive: true });
    host.addEventListener("keydown", (event) => this.keyDown(event));
    host.addEventListener("focusin", (event) => {
      const found = [...this.tiles].find(([, tile]) => tile === event.target);
      if (found) this.current = found[0];
    });
    new ResizeObserver(() => this.measure()).observe(host);
  }

  /** Work out columns; where their number changes, there is room for more or fewer items. */
  measure() {
    if (!this.host.clientWidth) return; // in a tab that is not open
    const inner = this.host.clientWidth - 2 * PADDING + this.gap;
    const columns = Math.max(1, Math.floor(inner / (this.least() + this.gap)));
    this.width = Math.floor(inner / columns) - this.gap;
    this.height = this.tall(this.width);
    this.step = { x: this.width + this.gap, y: this.height + this.gap };
    if (this.rows !== null) {
      this.host.style.height = `${this.rows * this.step.y - this.gap + 2 * PADDING}px`;
    }
    const changed = columns !== this.columns;
    this.columns = columns;
    for (const place of [...this.tiles.keys()]) this.release(place);
    if (changed && this.rows !== null) this.host.dispatchEvent(new Event("room"));
    else this.render();
  }

  /** How many items a grid with a fixed number of rows has room for. */
  get room() {
    return this.rows === null ? Infinity : this.rows * (this.columns || 0);
  }

  show(items) {
    this.items = items;
    this.current = Math.min(this.current, Math.max(0, items.length - 1));
    this.render(true);
  }

  release(place) {
    const tile = this.tiles.get(place);
    tile.hidden = true;
    this.tiles.delete(place);
    this.spare.push(tile);
  }

  /** Put tiles where they are seen; with `anew` those that stand there are filled again, too. */
  render(anew = false) {
    if (!this.columns || !this.host.clientHeight) return;
    const count = Math.min(this.items.length, this.room);
    const rows = Math.ceil(count / this.columns);
    this.sheet.style.height = `${Math.max(0, rows * this.step.y - this.gap)}px`;
    const top = Math.max(0, Math.floor(this.host.scrollTop / this.step.y) - SPARE);
    const seen = Math.ceil(this.host.clientHeight / this.step.y) + 2 * SPARE + 1;
    const start = top * this.columns, end = Math.min(count, (top + seen) * this.columns);
    for (const place of [...this.tiles.keys()]) {
      if (place < start || place >= end) this.release(place);
      else if (anew) this.fill(this.tiles.get(place), this.items[place], this.width, this.height);
    }
    for (let place = start; place < end; place += 1) {
      if (!this.tiles.has(place)) this.put(place);
    }
    for (const [place, tile] of this.tiles) tile.tabIndex = place === this.current ? 0 : -1;
  }

  put(place) {
    let tile = this.spare.shift(); // the first one: they stay in reading order
    if (!tile) {
      tile = this.make();
      this.sheet.append(tile);
    }
    const x = (place % this.columns) * this.step.x, y = Math.floor(place / this.columns) * this.step.y;
    tile.style.width = `${this.width}px`;
    tile.style.height = `${this.height}px`;
    tile.style.transform = `translate(${x}px, ${y}px)`;
    tile.hidden = false;
    this.tiles.set(place, tile);
    this.fill(tile, this.items[place], this.width, this.height);
  }

  keyDown(event) {
    const moves = {
      ArrowLeft: -1, ArrowRight: 1, ArrowUp: -this.columns, ArrowDown: this.columns,
      PageUp: -4 * this.columns, PageDown: 4 * this.columns, Home: -Infinity, End: Infinity,
    };
    if (!(event.key in moves) || !this.items.length) return;
    event.preventDefault();
    const last = Math.min(this.items.length, this.room) - 1;
    this.current = Math.min(Math.max(this.current + moves[event.key], 0), last);
    const row = Math.floor(this.current / this.columns);
    const top = row * this.step.y, bottom = top + this.step.y;
    if (top < this.host.scrollTop) this.host.scrollTop = top;
    if (bottom > this.host.scrollTop + this.host.clientHeight) {
      this.host.scrollTop = bottom - this.host.clientHeight;
    }
    this.render();
    this.tiles.get(this.current)?.focus({ preventScroll: true });
  }
}

/** Side of a thumbnail on the screen: not much above what there is, and less on a phone. */
function thumbSide() {
  const most = window.innerWidth < 700 ? 56 : 80;
  return Math.min(most, Math.max(48, data.thumb_side));
}

function makeThumb() {
  const tile = element("button", { type: "button", className: "thumb" });
  tile.append(element("i"));
  const look = () => showDetail(tile.patch);
  tile.addEventListener("pointerenter", look);
  tile.addEventListener("focus", look);
  tile.addEventListener("click", look);
  return tile;
}

function fillThumb(tile, id, width) {
  const { sheet, column, row } = tileOf(id);
  const status = STATUS[view.status[id]];
  const shows = [id, status, width, state.table, state.rule].join();
  if (tile.shows === shows) return; // most tiles of most frames
  tile.shows = shows;
  tile.patch = id;
  tile.className = `thumb ${status}`;
  const score = scoreText(tableNow().scores[id]);
  tile.setAttribute("aria-label",
    `${data.images[imageOf[id]].path}, rank ${view.rank[id]}, score ${score}, ${status}`);
  const inner = width - 4; // beside the frame
  const { style } = tile.firstChild;
  style.backgroundImage = `url("${urlOf(`thumb-${sheet}`)}")`;
  style.backgroundSize = `${data.columns * inner}px auto`;
  style.backgroundPosition = `${-column * inner}px ${-row * inner}px`;
}

function thumbGrid(host, label, rows) {
  return new Grid(host, {
    label, rows, make: makeThumb, fill: fillThumb, least: thumbSide, tall: (width) => width + 3,
  });
}

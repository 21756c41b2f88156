// Where everything goes when modules are closed: Graphviz's layout, with the space taken out that nothing needs any more.

const GAP = 22;

/** A function of one axis that keeps what is within these intervals as it is, and shortens what lies between them. */
function squeezed(intervals) {
  const sorted = intervals.slice().sort((a, b) => a[0] - b[0]);
  const from = [], to = [];
  let end = -Infinity, moved = 0;
  for (const [low, high] of sorted) {
    if (low > end) {
      if (end > -Infinity) moved += Math.max(0, low - end - GAP);
      from.push(low); to.push(low - moved);
    }
    if (high > end) { end = high; from.push(end); to.push(end - moved); }
  }
  return (z) => {
    let low = 0, high = from.length - 1;
    if (high < 0) return z;
    if (z <= from[0]) return to[0] + z - from[0];
    if (z >= from[high]) return to[high] + z - from[high];
    while (high - low > 1) { const middle = (low + high) >> 1; if (from[middle] <= z) low = middle; else high = middle; }
    const width = from[high] - from[low];
    return width ? to[low] + (to[high] - to[low]) * (z - from[low]) / width : to[low];
  };
}

const identity = (z) => z;

/** For each frame, the outermost one that is closed and that it is or lies in; -1 for none. */
function holders(frames, closed) {
  return frames.map((_, number) => {
    let found = -1;
    for (let at = number; at >= 0; at = frames[at].in) if (closed.has(at)) found = at;
    return found;
  });
}

/** The size of a closed frame within the place of the open one. */
function closedRect([x, y, width, height], label) {
  const wide = Math.min(width, Math.max(84, 5.6 * label.length + 40)), tall = Math.min(height, 36);
  return [x + (width - wide) / 2, y, wide, tall];
}

/** Rectangles and paths of a scene where some frames are closed: null for what is not to be seen. */
function arrange(scene, closed) {
  const holder = holders(scene.frames, closed);
  const of = (frame) => (frame < 0 ? -1 : holder[frame]);
  const hidden = scene.boxes.map((box) => of(box.in));
  const shut = new Map([...closed].filter((f) => holder[f] === f).map((f) => [f, closedRect(scene.frames[f].rect, scene.frames[f].label)]));
  let alongX = identity, alongY = identity;
  if (closed.size) {
    const xs = [], ys = [];
    const keep = ([x, y, w, h]) => { xs.push([x, x + w]); ys.push([y, y + h]); };
    scene.boxes.forEach((box, i) => hidden[i] < 0 && keep(box.rect));
    scene.types.forEach((type) => hidden[type.of] < 0 && keep(type.rect));
    shut.forEach(keep);
    scene.frames.forEach(({ rect: [x, y, w, h] }, f) => {
      if (holder[f] < 0) { xs.push([x, x], [x + w, x + w]); ys.push([y, y + 14], [y + h, y + h]); }
    });
    alongX = squeezed(xs); alongY = squeezed(ys);
  }
  const moved = ([x, y, w, h]) => { const a = alongX(x), b = alongY(y); return [a, b, alongX(x + w) - a, alongY(y + h) - b]; };
  const boxes = scene.boxes.map((box, i) => (hidden[i] < 0 ? moved(box.rect) : null));
  const frames = scene.frames.map((frame, f) => (holder[f] < 0 ? moved(frame.rect) : holder[f] === f ? moved(shut.get(f)) : null));
  const types = scene.types.map((type) => (hidden[type.of] < 0 ? moved(type.rect) : null));
  const seen = new Set();
  const lines = scene.lines.map((line) => {
    const a = hidden[line.from], b = line.to < 0 ? a : hidden[line.to];
    if (a < 0 && b < 0) return curve(line.points.map((z, i) => (i % 2 ? alongY(z) : alongX(z))), line.to >= 0);
    if (line.to < 0 || a === b) return null;
    const key = `${a < 0 ? `b${line.from}` : `f${a}`} ${b < 0 ? `b${line.to}` : `f${b}`}`;
    if (seen.has(key)) return null;
    seen.add(key);
    const start = a < 0 ? first(line.points, alongX, alongY) : bottom(frames[a]);
    const end = b < 0 ? final(line.points, alongX, alongY) : top(frames[b]);
    return detour(start, end);
  });
  const rects = [...boxes, ...frames].filter((rect) => rect);
  const size = closed.size
    ? [Math.max(...rects.map(([x, , w]) => x + w)) + 8, Math.max(...rects.map(([, y, , h]) => y + h)) + 8] : scene.size;
  return { boxes, frames, types, lines, size, holder, hidden };
}

const first = (points, x, y) => [x(points[0]), y(points[1])];
const final = (points, x, y) => [x(points[points.length - 2]), y(points[points.length - 1])];
const bottom = ([x, y, w, h]) => [x + w / 2, y + h];
const top = ([x, y, w]) => [x + w / 2, y];
const n = (z) => Math.round(z * 10) / 10;

function curve(points, tipped) {
  const until = tipped ? points.length - 2 : points.length;
  let path = `M${n(points[0])} ${n(points[1])}C`;
  for (let i = 2; i < until; i += 2) path += `${n(points[i])} ${n(points[i + 1])} `;
  return tipped ? `${path}L${n(points[until])} ${n(points[until + 1])}` : path;
}

function detour([x1, y1], [x2, y2]) {
  const bend = Math.max(8, Math.abs(y2 - y1) / 2.5);
  return `M${n(x1)} ${n(y1)}C${n(x1)} ${n(y1 + bend)} ${n(x2)} ${n(y2 - 5 - bend)} ${n(x2)} ${n(y2 - 5)}L${n(x2)} ${n(y2)}`;
}

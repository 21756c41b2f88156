// The graph: boxes that are chosen by a click or by keys, modules that close, heat.

const CROWD = 120; // boxes to see at first; of larger graphs, modules are closed

class Graph {
  constructor(data) {
    this.scene = new Scene(data, `Graph of ${whole(data.boxes.length)} boxes. Arrow keys go along it, Enter chooses.`);
    this.holderOf = new Map();
    data.boxes.forEach((box, i) => [...box.holds, box.node].forEach((node) => node >= 0 && this.holderOf.set(node, i)));
    this.spent = data.boxes.map((box) => [box.node, ...box.holds].reduce((sum, node) => sum + (node < 0 ? 0 : times[node]), 0));
    this.parents = data.frames.map((frame) => frame.in);
    this.within = data.frames.map(() => []);
    data.boxes.forEach((box, i) => { for (let f = box.in; f >= 0; f = this.parents[f]) this.within[f].push(i); });
    this.current = null;
    this.name();
    this.scene.svg.addEventListener("click", (event) => this.clicked(event));
    this.scene.svg.addEventListener("keydown", (event) => this.pressed(event));
    this.scene.svg.addEventListener("pointermove", (event) => this.pointed(event));
    this.scene.svg.addEventListener("pointerleave", () => { hideTip(); hover(-1, "graph"); });
    this.scene.svg.addEventListener("focusin", (event) => this.focused(event.target.closest(".box, .frame")));
    on("choose", (node, from) => { light(this.scene.world, "chosen", this.shownAs(node)); if (from !== "graph") this.reveal(node); this.ways(); });
    on("hover", (node) => light(this.scene.world, "hovered", this.shownAs(node)));
    if (data.boxes.length > CROWD) this.closeTo(this.depthFor(CROWD));
    else this.update();
  }

  /** What screen readers say, and where the keyboard goes. */
  name() {
    const { data, boxes, frames } = this.scene;
    boxes.forEach((box, i) => {
      const { node, lines } = data.boxes[i];
      const said = node < 0 ? lines.map(([, text]) => text) : [...inShort(node).slice(0, 3)];
      fill(box, { role: "button", tabindex: -1, "aria-label": said.join(", "), "aria-pressed": node < 0 ? null : "false" }, []);
    });
    frames.forEach((frame, f) => fill(frame, { role: "button", tabindex: -1, "aria-label": this.saidOf(f) }, []));
  }

  saidOf(f) {
    const spent = this.within[f].reduce((sum, i) => sum + this.spent[i], 0);
    return `module ${this.scene.data.frames[f].label}, ${this.within[f].length} boxes, ${seconds(spent)}`;
  }

  // ------------------------------------------------------------ closing

  update() {
    this.scene.layout();
    this.scene.frames.forEach((frame, f) => {
      const shut = this.scene.closed.has(f);
      frame.setAttribute("aria-expanded", String(!shut));
      const spent = this.within[f].reduce((sum, i) => sum + this.spent[i], 0);
      frame.children[1].textContent = `${shut ? "▸" : "▾"} ${this.scene.data.frames[f].label}`;
      frame.lastChild.textContent = !shut ? "" : spent ? `${seconds(spent)} · ${percent(spent / total)}` : `${this.within[f].length} boxes`;
      frame.style.setProperty("--heat", heat(spent).toFixed(3));
    });
    this.scene.boxes.forEach((box, i) => box.style.setProperty("--heat", heat(this.spent[i]).toFixed(3)));
    this.order = [...this.scene.frames.map((frame, f) => ({ shape: frame, rect: this.scene.made.frames[f] })),
      ...this.scene.boxes.map((box, i) => ({ shape: box, rect: this.scene.made.boxes[i] }))]
      .filter(({ rect }) => rect).sort((a, b) => a.rect[1] - b.rect[1] || a.rect[0] - b.rect[0]).map(({ shape }) => shape);
    if (!this.order.includes(this.current)) this.rove(this.order[0], false);
    this.ways();
  }

  depthOf(f) { let depth = 0; for (let at = f; at >= 0; at = this.parents[at]) depth++; return depth; }
  get depth() { return Math.max(0, ...this.parents.map((_, f) => this.depthOf(f))); }

  /** The most levels of open modules with which no more boxes than these are to be seen. */
  depthFor(most) {
    for (let depth = this.depth; depth > 0; depth--) {
      const open = this.scene.data.boxes.filter((box) => box.in < 0 || this.depthOf(box.in) <= depth).length;
      if (open + this.parents.filter((_, f) => this.depthOf(f) === depth + 1).length <= most) return depth;
    }
    return 0;
  }

  /** Close all modules that lie deeper than this. */
  closeTo(depth) {
    this.scene.closed = new Set(this.parents.map((_, f) => f).filter((f) => this.depthOf(f) > depth));
    this.update();
  }

  toggle(f) {
    const [x, y] = this.scene.made.frames[f];
    if (!this.scene.closed.delete(f)) this.scene.closed.add(f);
    this.update();
    const [a, b] = this.scene.made.frames[f];
    const { x: px, y: py } = this.camera.pan.getPan();
    this.camera.go(px + x - a, py + y - b, this.camera.pan.getScale(), false);
  }

  // ------------------------------------------------------------ choosing

  /** The node of the box that a node stands in. */
  shownAs(node) { const box = this.holderOf.get(node); return box === undefined ? -1 : this.scene.data.boxes[box].node; }

  reveal(node) {
    const box = this.holderOf.get(node);
    if (box === undefined) return;
    let opened = false;
    for (let f = this.scene.data.boxes[box].in; f >= 0; f = this.parents[f]) opened = this.scene.closed.delete(f) || opened;
    if (opened) { this.update(); light(this.scene.world, "chosen", this.shownAs(node)); }
    this.rove(this.scene.boxes[box], false);
    if (this.camera.view[0]) this.camera.show(this.scene.made.boxes[box], true);
  }

  /** The arrows from and to the chosen box. */
  ways() {
    const box = this.holderOf.get(state.chosen) ?? -1;
    this.scene.data.lines.forEach((line, i) => this.scene.lines[i].classList.toggle("near", box >= 0 && (line.from === box || line.to === box)));
    this.scene.boxes.forEach((shape, i) => shape.hasAttribute("aria-pressed") && shape.setAttribute("aria-pressed", String(i === box)));
  }

  clicked(event) {
    if (this.camera.dragged > 4) return;
    const frame = event.target.closest(".frame"), box = event.target.closest(".box");
    if (box) this.activate(box);
    else if (frame && (event.target.matches(".label") || frame.classList.contains("closed"))) this.activate(frame);
  }

  activate(shape) {
    this.rove(shape, false);
    const f = this.scene.frames.indexOf(shape);
    if (f >= 0) this.toggle(f);
    else if (shape.dataset.node !== undefined) choose(Number(shape.dataset.node), "graph");
  }

  pointed(event) {
    const box = event.target.closest(".box");
    const node = box?.dataset.node === undefined ? -1 : Number(box.dataset.node);
    hover(node, "graph");
    if (node >= 0 && !event.buttons) showTip(event, inShort(node)); else hideTip();
  }

  // ------------------------------------------------------------ keys

  focused(shape) {
    if (!shape) return;
    this.rove(shape, false);
    if (!shape.matches(":focus-visible")) return;
    this.camera.show(this.rectOf(shape), false);
    hover(shape.dataset.node === undefined ? -1 : Number(shape.dataset.node), "graph");
  }

  rectOf(shape) {
    const i = this.scene.boxes.indexOf(shape);
    if (i >= 0) return this.scene.made.boxes[i];
    const [x, y, w, h] = this.scene.made.frames[this.scene.frames.indexOf(shape)];
    return [x, y, w, Math.min(h, 36)];
  }

  /** One thing at a time is reached by the Tab key. */
  rove(shape, focus) {
    this.current?.setAttribute("tabindex", "-1");
    this.current = shape ?? null;
    this.current?.setAttribute("tabindex", "0");
    if (focus) this.current?.focus();
  }

  pressed(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    const at = this.order.indexOf(this.current);
    if (event.shiftKey && event.key.startsWith("Arrow")) {
      const [dx, dy] = { ArrowLeft: [80, 0], ArrowRight: [-80, 0], ArrowUp: [0, 80], ArrowDown: [0, -80] }[event.key];
      this.camera.move(dx, dy);
    } else if (step) this.rove(this.order[clamp(0, at + step, this.order.length - 1)], true);
    else if (event.key === "ArrowDown" || event.key === "ArrowUp") this.follow(event.key === "ArrowDown");
    else if (event.key === "Home") this.rove(this.order[0], true);
    else if (event.key === "End") this.rove(this.order[this.order.length - 1], true);
    else if (event.key === "Enter" || event.key === " ") this.activate(this.current);
    else if (event.key === "c") this.closeAround();
    else if (event.key === "+" || event.key === "=") this.camera.zoom(1.3);
    else if (event.key === "-") this.camera.zoom(1 / 1.3);
    else if (event.key === "0") this.camera.fit(true);
    else return;
    event.preventDefault();
  }

  /** Along an arrow that leaves or enters what has the focus. */
  follow(down) {
    const { data, made, boxes, frames } = this.scene;
    const shape = (i) => (made.hidden[i] >= 0 ? frames[made.hidden[i]] : boxes[i]);
    for (const line of data.lines) {
      if (line.to < 0) continue;
      const [here, there] = down ? [line.from, line.to] : [line.to, line.from];
      if (shape(here) === this.current && shape(there) !== this.current) return this.rove(shape(there), true);
    }
    const at = this.order.indexOf(this.current);
    return this.rove(this.order[clamp(0, at + (down ? 1 : -1), this.order.length - 1)], true);
  }

  /** Close the module around what has the focus. */
  closeAround() {
    const i = this.scene.boxes.indexOf(this.current);
    const f = i >= 0 ? this.scene.data.boxes[i].in : this.parents[this.scene.frames.indexOf(this.current)];
    if (f === undefined || f < 0) return;
    if (!this.scene.closed.has(f)) this.toggle(f);
    this.rove(this.scene.frames[f], true);
  }
}

/** Where the keyboard goes after a search: to the box that was found, where it is to be seen. */
let focusGraph = () => {};

function graphPanel(panel) {
  if (!report.scene) {
    panel.append(element("p", { class: "empty" }, report.notes.scene));
    return {};
  }
  const graph = new Graph(report.scene);
  const button = (label, said, action) => element("button", { type: "button", "aria-label": said, title: said, on: { click: action } }, label);
  const levels = element("select", { id: "levels", on: { change: () => { graph.closeTo(Number(levels.value)); graph.camera.start(); } } },
    [...Array(graph.depth + 1).keys()].map((depth) => element("option", { value: depth },
      depth === 0 ? "all closed" : depth === graph.depth ? "all open" : `${counted(depth, "level")} open`)));
  levels.value = graph.scene.closed.size ? graph.depthFor(CROWD) : graph.depth;
  const colour = element("select", { id: "colour", on: { change: () => tint(colour.value) } },
    element("option", { value: "kind" }, "kind of op"), element("option", { value: "heat" }, measured ? "time" : "predicted time"));
  const legend = element("div", { class: "legend", role: "img", "aria-label": "Colours: from no time at all to the longest time" },
    element("span", {}, "0"), element("span", { class: "ramp" }), element("span", {}, seconds(longest)));
  const tint = (which) => { graph.scene.svg.classList.toggle("heat", which === "heat"); legend.hidden = which !== "heat"; };
  const stage = element("div", { class: "stage" });
  panel.append(element("div", { class: "toolbar", role: "toolbar", "aria-label": "Graph" },
    button("+", "Zoom in", () => graph.camera.zoom(1.3)), button("−", "Zoom out", () => graph.camera.zoom(1 / 1.3)),
    button("Fit", "Fit the graph into the window", () => graph.camera.fit(true)),
    graph.depth ? element("label", {}, "Modules ", levels) : null, element("label", {}, "Colour ", colour), legend), stage);
  tint("kind");
  stage.append(graph.scene.svg);
  graph.camera = new Camera(graph.scene);
  focusGraph = () => { if (graph.camera.view[0] && graph.holderOf.has(state.chosen)) graph.current.focus({ preventScroll: true }); };
  let seen = null;
  return { shown: () => setTimeout(() => {
    if (seen === null) graph.camera.start();
    if (state.chosen >= 0 && state.chosen !== seen) graph.reveal(state.chosen);
    seen = state.chosen;
  }, 30) };
}

// Draws a scene: boxes, frames and arrows that Graphviz has laid out. `arrange` says where, and what is closed.

const SIZES = { title: 9, name: 7.5, detail: 7.5, parameter: 7, kept: 7, gives: 7.5 };
const ENDS = new Set(["input", "output", "update", "given", "connector"]);
let scenes = 0;

class Scene {
  constructor(data, label) {
    this.data = data;
    this.closed = new Set();
    const number = ++scenes;
    const kinds = ["value", "gradient", "parameter", "kept", "region"];
    this.world = drawn("g", { class: "world" });
    this.svg = drawn("svg", { class: "scene", role: "group", "aria-label": label, tabindex: -1 },
      drawn("defs", {}, kinds.map((kind) => drawn("marker", {
        id: `tip-${number}-${kind}`, class: `tip ${kind}`, viewBox: "0 0 8 8", refX: 7, refY: 4,
        markerWidth: 5.5, markerHeight: 5.5, orient: "auto", markerUnits: "userSpaceOnUse",
      }, drawn("path", { d: "M0 .8 8 4 0 7.2z" })))),
      this.world);
    this.frames = data.frames.map((frame) => this.frame(frame));
    this.lines = data.lines.map((line) => drawn("path", {
      class: `line ${line.kind}`, "marker-end": line.to < 0 ? null : `url(#tip-${number}-${line.kind})`,
    }));
    this.types = data.types.map((type) => drawn("text", { class: `said` }, type.text));
    this.boxes = data.boxes.map((box) => this.box(box));
    this.world.append(
      drawn("g", { class: "frames" }, this.frames), drawn("g", { class: "lines", "aria-hidden": "true" }, this.lines),
      drawn("g", { class: "types", "aria-hidden": "true" }, this.types), drawn("g", { class: "boxes" }, this.boxes));
    this.layout();
  }

  frame(frame) {
    const rect = drawn("rect", { rx: 4 });
    const label = drawn("text", { class: "label" }, frame.label);
    return drawn("g", { class: `frame ${frame.kind}` }, rect, label, drawn("text", { class: "inside" }));
  }

  box(box) {
    const around = drawn("g", {
      class: `box k-${box.kind}${box.mark ? ` m-${box.mark}` : ""}${box.gradient ? " backward" : ""}`,
      "data-node": box.node >= 0 ? box.node : null,
    }, drawn("rect"));
    const [, , wide, tall] = box.rect;
    const height = box.lines.reduce((sum, [kind]) => sum + SIZES[kind], 0);
    const step = Math.min(1.2, (tall - 3.5) / height); // how far lines stand apart
    let y = (tall - step * height) / 2;
    for (const [kind, text] of box.lines) {
      around.append(drawn("text", { class: kind, x: n(wide / 2), y: n(y + (step / 2 + 0.33) * SIZES[kind]) }, text));
      y += step * SIZES[kind];
    }
    const rect = around.firstChild;
    rect.setAttribute("width", wide); rect.setAttribute("height", tall);
    rect.setAttribute("rx", ENDS.has(box.kind) ? n(Math.min(wide, tall) / 2) : box.kind === "parameter" || box.kind === "constant" ? 0 : 4);
    return around;
  }

  /** Put everything where it is now. */
  layout() {
    const made = arrange(this.data, this.closed);
    this.made = made;
    const place = (shape, rect, set) => {
      shape.classList.toggle("gone", !rect);
      if (rect) set(rect);
    };
    this.boxes.forEach((box, i) => place(box, made.boxes[i], ([x, y]) => box.setAttribute("transform", `translate(${n(x)} ${n(y)})`)));
    this.types.forEach((text, i) => place(text, made.types[i], ([x, y, w, h]) => {
      text.setAttribute("x", n(x + w / 2)); text.setAttribute("y", n(y + h / 2 + 2.4));
    }));
    this.frames.forEach((frame, i) => place(frame, made.frames[i], ([x, y, w, h]) => {
      const [rect, label, inside] = frame.children;
      for (const [name, value] of Object.entries({ x, y, width: w, height: h })) rect.setAttribute(name, n(value));
      const shut = this.closed.has(i);
      frame.classList.toggle("closed", shut);
      label.setAttribute("x", n(shut ? x + w / 2 : x + 6)); label.setAttribute("y", n(y + (shut ? 15 : 11)));
      inside.setAttribute("x", n(x + w / 2)); inside.setAttribute("y", n(y + 27));
    }));
    this.lines.forEach((line, i) => place(line, made.lines[i], (path) => line.setAttribute("d", path)));
    this.size = made.size;
  }
}

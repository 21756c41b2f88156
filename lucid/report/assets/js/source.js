// The generated program; the lines of a node are lit with it, and a line chooses its node.

const CHUNK = 100; // lines that the browser lays out together, once they come into sight
const linesOf = nodes.map((node) => node.lines); // first those that run at each call

let toLine = () => {};

function source(panel) {
  const program = element("div", { class: "program", tabindex: 0, role: "region", "aria-label": "Program text" });
  const text = report.source.lines;
  const shapes = [null];
  for (let start = 0; start < text.length; start += CHUNK) {
    const chunk = element("div", { class: "chunk" });
    chunk.style.setProperty("--lines", Math.min(CHUNK, text.length - start));
    for (let i = start; i < Math.min(text.length, start + CHUNK); i++) {
      const node = report.source.nodes[i];
      const line = element("div", {
        class: `line${text[i].trimStart().startsWith("#") ? " remark" : ""}`, "data-node": node >= 0 ? node : null, "data-line": i + 1,
      }, element("span", { class: "number", "aria-hidden": "true" }, i + 1), element("code", {}, text[i] || " "));
      shapes.push(line);
      chunk.append(line);
    }
    program.append(chunk);
  }
  /** The node before or after the chosen one, in the order of the lines. */
  function walk(step) {
    const of = report.source.nodes;
    let at = linesOf[state.chosen]?.length ? linesOf[state.chosen][0] - 1 : step > 0 ? report.source.run - 1 : of.length;
    do at += step; while (at >= 0 && at < of.length && (of[at] < 0 || of[at] === state.chosen));
    if (of[at] >= 0) choose(of[at], "walk");
  }
  const button = (sign, said, step) => element("button", { type: "button", "aria-label": said, title: said, on: { click: () => walk(step) } }, sign);
  panel.append(
    element("div", { class: "heading" }, element("h2", {}, "Program"), element("span", { class: "quiet" }, report.notes.source),
      button("↑", "The node before in the program", -1), button("↓", "The next node in the program", 1)),
    program);

  const nodeAt = (event) => { const line = event.target.closest(".line"); return line?.dataset.node === undefined ? -1 : Number(line.dataset.node); };
  program.addEventListener("click", (event) => { const node = nodeAt(event); if (node >= 0 && getSelection().isCollapsed) choose(node, "source"); });
  program.addEventListener("pointermove", (event) => hover(nodeAt(event), "source"));
  program.addEventListener("pointerleave", () => hover(-1, "source"));
  const lit = (kind, node) => {
    for (const old of program.querySelectorAll(`.${kind}`)) old.classList.remove(kind);
    for (const line of linesOf[node] ?? []) shapes[line].classList.add(kind);
  };
  toLine = (lines, focus) => {
    const line = shapes[lines[0]];
    const chunk = line.parentElement;
    program.scrollTop = chunk.offsetTop - program.offsetTop;
    requestAnimationFrame(() => {
      program.scrollTop += line.getBoundingClientRect().top - program.getBoundingClientRect().top - program.clientHeight / 3;
    });
    if (focus) program.focus();
  };
  on("hover", (node) => lit("hovered", node));
  on("choose", (node, from) => { lit("chosen", node); if (from !== "source" && linesOf[node]?.length) toLine(linesOf[node], false); });
}

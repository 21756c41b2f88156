// Tables that are sorted by a click on a heading.

/** Columns say their head, `of(row)` to sort by, and `show(row)` where that is not the text; `number` sets them right. */
function table(label, columns, rows, sorted) {
  const body = element("tbody");
  let [by, down] = sorted ?? [-1, false];
  const heads = columns.map((column, i) => element("th", { scope: "col", class: column.number ? "number" : null },
    element("button", { type: "button", on: { click: () => { down = by === i ? !down : Boolean(column.number); by = i; fillBody(); } } }, column.head)));
  function fillBody() {
    const order = by < 0 ? rows : rows.slice().sort((a, b) => {
      const [x, y] = [columns[by].of(a), columns[by].of(b)];
      return (x < y ? -1 : x > y ? 1 : 0) * (down ? -1 : 1);
    });
    heads.forEach((head, i) => (i === by ? head.setAttribute("aria-sort", down ? "descending" : "ascending") : head.removeAttribute("aria-sort")));
    body.replaceChildren(...order.map((row) => element("tr", { "data-node": row.node ?? null },
      columns.map((column) => element("td", { class: column.number ? "number" : null }, column.show ? column.show(row) : String(column.of(row)))))));
    light(body, "chosen", state.chosen);
  }
  fillBody();
  on("choose", (node, from) => {
    light(body, "chosen", node);
    if (from !== "link") body.querySelector("tr.chosen")?.scrollIntoView({ block: "nearest" });
  });
  on("hover", (node) => light(body, "hovered", node));
  body.addEventListener("pointermove", (event) => { const row = event.target.closest("tr"); hover(row?.dataset.node === undefined ? -1 : Number(row.dataset.node), "table"); });
  body.addEventListener("pointerleave", () => hover(-1, "table"));
  return element("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": label },
    element("table", {}, element("caption", {}, label), element("thead", {}, element("tr", {}, heads)), body));
}

/** A bar as long as the part of all, with its text. */
function bar(part, text) {
  const made = element("span", { class: "bar" }, element("span", { class: "text" }, text));
  made.style.setProperty("--part", clamp(0, part, 1).toFixed(4));
  return made;
}

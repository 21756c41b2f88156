// Finds nodes by name, operator, module or file.

const MOST_FOUND = 50;

function search() {
  const input = document.getElementById("search"), list = document.getElementById("found");
  const texts = nodes.map((node) => [node.name, node.op, ...node.modules, ...node.where.map(last)].join("\n").toLowerCase());
  const runs = (number) => (nodes[number].step && !nodes[number].step.once ? 0 : 1);
  let at = -1;

  /** Names that begin so before those that hold it, what runs before what does not. */
  function find(asked) {
    const words = asked.toLowerCase().split(/\s+/).filter(Boolean);
    if (!words.length) return [];
    const rank = (number) => {
      const name = nodes[number].name.toLowerCase();
      return (name === words[0] ? 0 : name.startsWith(words[0]) ? 2 : name.includes(words[0]) ? 4 : 6) + runs(number);
    };
    return texts.map((_, number) => number).filter((number) => words.every((word) => texts[number].includes(word)))
      .map((number) => [rank(number), number]).sort((a, b) => a[0] - b[0] || a[1] - b[1]).map(([, number]) => number);
  }

  function show() {
    const found = find(input.value);
    const open = input.value.trim() !== "" && document.activeElement === input;
    list.replaceChildren(...found.slice(0, MOST_FOUND).map((number, i) => element("li", {
      role: "option", id: `found-${i}`, "data-node": number, "aria-selected": "false",
      on: { pointerdown: (event) => { event.preventDefault(); take(number); } },
    }, element("span", { class: "what" }, nodes[number].name), element("span", { class: "quiet" }, nodes[number].op))));
    const more = found.length - MOST_FOUND;
    if (open && (more > 0 || !found.length)) {
      list.append(element("li", { class: "quiet", role: "option", "aria-disabled": "true" }, found.length ? `and ${whole(more)} more` : "nothing is called that"));
    }
    list.hidden = !open;
    input.setAttribute("aria-expanded", String(open));
    mark(found.length && open ? 0 : -1);
  }

  function mark(number) {
    const options = [...list.querySelectorAll("[data-node]")];
    at = options.length ? clamp(-1, number, options.length - 1) : -1;
    options.forEach((option, i) => option.setAttribute("aria-selected", String(i === at)));
    options[at]?.scrollIntoView({ block: "nearest" });
    if (at >= 0) input.setAttribute("aria-activedescendant", `found-${at}`); else input.removeAttribute("aria-activedescendant");
  }

  function take(number) {
    list.hidden = true;
    input.setAttribute("aria-expanded", "false");
    choose(number, "search");
    focusGraph();
  }

  input.addEventListener("input", show);
  input.addEventListener("focus", show);
  input.addEventListener("blur", () => { list.hidden = true; input.setAttribute("aria-expanded", "false"); });
  input.addEventListener("keydown", (event) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    const options = list.querySelectorAll("[data-node]");
    if (step) { if (list.hidden) show(); else mark(clamp(0, at + step, options.length - 1)); }
    else if (event.key === "Enter" && at >= 0 && !list.hidden) take(Number(options[at].dataset.node));
    else if (event.key === "Escape") { input.value = ""; show(); input.blur(); }
    else return;
    event.preventDefault();
    event.stopPropagation();
  });
}

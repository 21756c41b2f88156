// Histograms of parameters and buffers.

function weightsPanel(panel) {
  const weights = report.weights;
  if (!weights.length) { panel.append(element("p", { class: "empty" }, "The model has no parameters.")); return; }
  const all = weights.reduce((sum, one) => sum + one.count, 0);
  panel.append(element("p", {}, `${counted(weights.length, "array")}, ${whole(all)} numbers, ${bytes(weights.reduce((sum, one) => sum + one.bytes, 0))}.`));
  const strange = weights.filter((one) => one.odd);
  if (strange.length) panel.append(element("p", { class: "warning", role: "note" }, `Not finite: ${strange.map((one) => `${one.name} (${whole(one.odd)})`).join(", ")}`));
  panel.append(table("Parameters and buffers", [
    { head: "name", of: (row) => row.name, show: (row) => link(readerOf(row.name), row.name) },
    { head: "type", of: (row) => row.type },
    { head: "numbers", number: true, of: (row) => row.count, show: (row) => whole(row.count) },
    { head: "histogram", of: (row) => row.deviation ?? -1, show: (row) => histogram(row) },
    { head: "mean", number: true, of: (row) => row.mean ?? -Infinity, show: (row) => short(row.mean) },
    { head: "deviation", number: true, of: (row) => row.deviation ?? -1, show: (row) => short(row.deviation) },
    { head: "least", number: true, of: (row) => row.low ?? -Infinity, show: (row) => short(row.low) },
    { head: "most", number: true, of: (row) => row.high ?? -Infinity, show: (row) => short(row.high) },
    { head: "zeros", number: true, of: (row) => (row.zeros ?? 0) / (row.sampled || 1), show: (row) => (row.sampled ? percent(row.zeros / row.sampled) : "") },
  ], weights));
}

const short = (z) => (Number.isFinite(z) ? Number(z.toPrecision(3)).toString() : "");

/** The node that a parameter is in the graph that runs. */
const parameters = new Map(report.parameters.map(([name, node]) => [name, node]));
const readerOf = (name) => parameters.get(name) ?? -1;

function histogram(row) {
  if (!row.counts) return "";
  const wide = 160, tall = 28, most = Math.max(...row.counts), each = wide / row.counts.length;
  const bars = row.counts.map((count, i) => (count ? `M${n(i * each)} ${tall}v${n(-Math.max(0.7, tall * count / most))}h${n(each)}V${tall}z` : "")).join("");
  const zero = row.low < 0 && row.high > 0 ? drawn("path", { class: "zero", d: `M${n(wide * -row.low / (row.high - row.low))} 0V${tall}` }) : "";
  const said = `from ${short(row.low)} to ${short(row.high)}, mean ${short(row.mean)}, deviation ${short(row.deviation)}` +
    (row.sampled < row.count ? `; of ${whole(row.sampled)} of its numbers` : "");
  return drawn("svg", { class: "histogram", viewBox: `0 0 ${wide} ${tall}`, width: wide, height: tall, role: "img", "aria-label": said },
    drawn("title", {}, said), drawn("path", { d: bars }), zero);
}

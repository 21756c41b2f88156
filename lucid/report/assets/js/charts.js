// What charts have in common: axes with round numbers.

/** Round numbers from low to high: 1, 2 or 5 times a power of ten apart. */
function ticks(low, high, most) {
  const rough = (high - low) / most || 1, power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((n) => n * power).find((n) => n >= rough);
  const found = [];
  for (let at = Math.ceil(low / step) * step; at <= high + step * 1e-9; at += step) found.push(at);
  return found;
}

/** Powers of ten from low to high. */
function powers(low, high) {
  const found = [];
  for (let power = Math.ceil(Math.log10(low)); power <= Math.log10(high) + 1e-9; power++) found.push(10 ** power);
  return found;
}

/** Round sizes in bytes. */
function sizes(high, most) {
  let step = 1;
  while (high / step > most) step *= 2;
  const found = [];
  for (let at = 0; at <= high; at += step) found.push(at);
  return found;
}
const binary = (n) => withPrefix(n, "B", [["Gi", 2 ** 30], ["Mi", 2 ** 20], ["Ki", 2 ** 10], ["", 1]]);

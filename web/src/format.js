// Numbers as people read them. Times are seconds, sizes bytes, rates bytes a second; null and what is below 0 is not known.

const UNKNOWN = "–";

export function bytes(value) {
  if (value == null || value < 0 || !isFinite(value)) return UNKNOWN;
  if (value >= 1e9) return trim(value / 1e9) + " GB";
  if (value >= 1e6) return trim(value / 1e6) + " MB";
  if (value >= 1e3) return trim(value / 1e3) + " kB";
  return Math.round(value) + " B";
}

function trim(value) {
  return value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toFixed(2);
}

export function span(seconds) {
  if (seconds == null || seconds < 0 || !isFinite(seconds)) return UNKNOWN;
  if (seconds === 0) return "0 s";
  if (seconds >= 3600) return (seconds / 3600).toFixed(1) + " h";
  if (seconds >= 100) return seconds.toFixed(0) + " s";
  if (seconds >= 10) return seconds.toFixed(1) + " s";
  if (seconds >= 1) return seconds.toFixed(2) + " s";
  if (seconds >= 0.1) return (seconds * 1e3).toFixed(0) + " ms";
  if (seconds >= 0.001) return (seconds * 1e3).toFixed(1) + " ms";
  if (seconds >= 1e-6) return (seconds * 1e6).toFixed(seconds >= 1e-5 ? 0 : 1) + " µs";
  return Math.round(seconds * 1e9) + " ns";
}

export function moment(seconds) {
  return seconds.toFixed(6).replace(/(\.\d{3}\d*?)0+$/, "$1") + " s";
}

export function rate(value) {
  if (value == null || value < 0 || !isFinite(value)) return UNKNOWN;
  const bits = value * 8;
  if (bits >= 1e9) return trim(bits / 1e9) + " Gbit/s";
  if (bits >= 1e6) return trim(bits / 1e6) + " Mbit/s";
  if (bits >= 1e3) return trim(bits / 1e3) + " kbit/s";
  return Math.round(bits) + " bit/s";
}

export function count(number, one, many = one + "s") {
  return number.toLocaleString("en") + " " + (number === 1 ? one : many);
}

export function percent(share) {
  if (share > 0 && share < 0.0005) return "<0.1%";
  return share >= 0.0995 ? (share * 100).toFixed(0) + "%" : (share * 100).toFixed(1) + "%";
}

// --- axes: all ticks of an axis in one unit, with the digits that tell them apart

function scaled(ticks, units) {
  const most = Math.max(...ticks.map(Math.abs));
  const [factor, name] = units.find(([least]) => most >= least) ?? units[units.length - 1];
  const step = ticks.length > 1 ? Math.abs(ticks[1] - ticks[0]) / factor : 1;
  const digits = factor === 1 && name === "B" ? 0 : Math.min(4, digitsOf(step));
  return ticks.map(tick => tick === 0 ? "0" : (tick / factor).toFixed(digits) + " " + name);
}

export function byteTicks(ticks) {
  return scaled(ticks, [[1e9, "GB"], [1e6, "MB"], [1e3, "kB"], [1, "B"]]);
}

export function spanTicks(ticks) {
  return scaled(ticks, [[1, "s"], [1e-3, "ms"], [1e-6, "µs"]]);
}

export function rateTicks(ticks) {
  return scaled(ticks.map(tick => tick * 8), [[1e9, "Gb/s"], [1e6, "Mb/s"], [1e3, "kb/s"], [1, "b/s"]]);
}

export function countTicks(ticks) {
  return ticks.map(tick => Number.isInteger(tick) ? String(tick) : "");
}

export function timeTick(seconds, step) {
  return seconds.toFixed(digitsOf(step)) + " s";
}

// How many digits after the point the multiples of a step have.
function digitsOf(step) {
  return [0, 1, 2, 3, 4, 5, 6, 7, 8].find(n => Math.abs(step * 10 ** n - Math.round(step * 10 ** n)) < 1e-6 * step * 10 ** n) ?? 9;
}

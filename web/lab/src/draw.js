// Elements and pictures. Words from data go in as text only.
const SVG = "http://www.w3.org/2000/svg";

export function make(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) key === "class" ? element.className = value : key.startsWith("on") ? element.addEventListener(key.slice(2), value) : element.setAttribute(key, value);
  element.append(...children);
  return element;
}

export function shape(name, attributes = {}, ...children) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

export function table(heads, rows) {
  return make("table", {}, make("thead", {}, make("tr", {}, ...heads.map(head => make("th", { scope: "col" }, head)))),
    make("tbody", {}, ...rows.map(row => make("tr", {}, ...row.map(cell => make("td", {}, String(cell)))))));
}

export function seconds(ns) {
  if (ns === 0) return "0 s";
  if (ns < 1e6) return `${+(ns / 1e3).toFixed(1)} µs`;
  if (ns < 1e9) return `${+(ns / 1e6).toFixed(2)} ms`;
  return `${+(ns / 1e9).toFixed(4)} s`;
}

// The hosts as boxes, the links as lines with their properties.
export function network(hosts, links, label) {
  const width = 640, height = 110, at = new Map(hosts.map((name, number) => [name, (number + .5) * width / hosts.length]));
  const picture = shape("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label });
  links.forEach(({ between: [a, b], text }, number) => {
    const near = Math.abs(hosts.indexOf(a) - hosts.indexOf(b)) === 1, y = 60, middle = (at.get(a) + at.get(b)) / 2;
    picture.append(near ? shape("line", { class: "lane", x1: at.get(a), x2: at.get(b), y1: y, y2: y }) : shape("path", { class: "lane", fill: "none", d: `M${at.get(a)},${y + 15} Q${middle},${y + 60} ${at.get(b)},${y + 15}` }));
    const words = shape("text", { x: middle, y: near ? 50 : 104, "text-anchor": "middle", class: "soft" });
    words.textContent = text;
    picture.append(words);
  });
  for (const [name, x] of at) {
    const words = shape("text", { x, y: 64, "text-anchor": "middle" });
    words.textContent = name;
    picture.append(shape("rect", { class: "box", x: x - 48, y: 44, width: 96, height: 32, rx: 6 }), words);
  }
  return picture;
}

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

// The ladder: time downwards in the order of rows, arrows slanted. ``steps`` are the rows that are shown.
export function ladder(hosts, rows, chosen, choose) {
  const width = 720, gap = 26, top = 34, left = 150, right = 150;
  const x = name => hosts.length < 2 ? width / 2 : left + hosts.indexOf(name) * (width - left - right) / (hosts.length - 1);
  const height = top + (rows.length + 1) * gap + 10;
  const picture = shape("svg", { viewBox: `0 0 ${width} ${height}` });
  for (const name of hosts) {
    const words = shape("text", { x: x(name), y: 18, "text-anchor": "middle", "font-weight": "600" });
    words.textContent = name;
    picture.append(words, shape("line", { class: "lane", x1: x(name), x2: x(name), y1: 26, y2: height }));
  }
  rows.forEach((row, number) => {
    const y = top + number * gap + 8, group = shape("g", {});
    if (row.row === "arrow") {
      const from = x(row.sender), lost = row.fate !== "arrived", to = x(row.receiver || hosts.find(name => name !== row.sender) || row.sender);
      const end = lost ? from + (to - from) * .55 : to, sign = Math.sign(to - from) || 1, low = y + 14;
      const text = shape("text", { x: (from + to) / 2, y: y - 1, "text-anchor": "middle" });
      text.textContent = row.label + (row.is_retransmission ? " ↻" : "") + (lost ? " ✕" : "");
      const time = shape("text", { x: 4, y: y + 4, class: "soft" });
      time.textContent = seconds(row.sent_ns);
      group.setAttribute("class", row === chosen ? "hit chosen" : "hit");
      group.setAttribute("tabindex", "0");
      group.setAttribute("role", "button");
      group.setAttribute("aria-label", `${seconds(row.sent_ns)} ${row.sender} → ${row.receiver}: ${row.label}, ${row.fate} ${row.reason}`);
      group.append(shape("rect", { x: 0, y: y - 12, width, height: gap }), time, text,
        shape("line", { class: `arrow${lost ? " lost" : ""}${row.is_retransmission ? " again" : ""}`, x1: from, y1: y, x2: end, y2: low }),
        shape("path", { class: lost ? "headlost" : "head", d: lost ? `M${end - 4},${low - 5} l8,10 M${end + 4},${low - 5} l-8,10` : `M${end},${low} l${-8 * sign},-5 l0,8 z`, ...(lost ? { stroke: "currentColor" } : {}) }));
      group.addEventListener("click", () => choose(row));
      group.addEventListener("keydown", event => { if (event.key === "Enter" || event.key === " ") { event.preventDefault(); choose(row); } });
    } else {
      const at = row.host ? x(row.host) : width / 2, first = hosts.indexOf(row.host) === 0, text = shape("text", { x: row.host ? at + (first ? 6 : -6) : at, y: y + 6, "text-anchor": row.host ? first ? "start" : "end" : "middle", class: "soft" });
      const said = row.text || "";
      text.textContent = said.length > 52 ? `${said.slice(0, 51)}…` : said;
      const whole = shape("title");
      whole.textContent = said;
      text.append(whole);
      group.append(text);
      if (row.host) group.append(shape("circle", { cx: at, cy: y + 2, r: 3, class: "head" }));
    }
    picture.append(group);
  });
  return picture;
}

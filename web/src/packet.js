// A frame's bytes as fields: Ethernet, IP, TCP, UDP, ICMP, ARP. Of a cut frame as much as is there.

export function isEthernet(bytes, size) {
  if (bytes.length >= 20 && bytes[0] >> 4 === 4) return (bytes[2] << 8 | bytes[3]) !== size;
  if (bytes.length >= 40 && bytes[0] >> 4 === 6) return (bytes[4] << 8 | bytes[5]) + 40 !== size;
  return true;
}

export function fields(bytes, size) {
  const out = [], view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let at = 0, type = bytes[0] >> 4 === 6 ? 0x86dd : 0x0800;
  if (isEthernet(bytes, size)) {
    if (bytes.length < 14) return out;
    type = view.getUint16(12);
    out.push(["Ethernet", `${mac(bytes, 6)} → ${mac(bytes, 0)}, type 0x${type.toString(16).padStart(4, "0")}`]);
    at = 14;
  }
  if (type === 0x0806 && bytes.length >= at + 28) {
    out.push(["ARP", `${view.getUint16(at + 6) === 1 ? "who has" : "is at"}: ${v4(bytes, at + 14)} → ${v4(bytes, at + 24)}`]);
    return out;
  }
  let protocol, next;
  if (type === 0x0800 && bytes.length >= at + 20) {
    protocol = bytes[at + 9];
    next = at + (bytes[at] & 15) * 4;
    const ecn = bytes[at + 1] & 3, flags = bytes[at + 6] >> 5;
    out.push(["IPv4", `${v4(bytes, at + 12)} → ${v4(bytes, at + 16)}`], ["TTL, id", `${bytes[at + 8]}, ${view.getUint16(at + 4)}${flags & 2 ? ", don't fragment" : ""}`]);
    if (ecn) out.push(["ECN", ["", "ECT(1)", "ECT(0)", "CE"][ecn]]);
  } else if (type === 0x86dd && bytes.length >= at + 40) {
    protocol = bytes[at + 6];
    next = at + 40;
    out.push(["IPv6", `${v6(view, at + 8)} → ${v6(view, at + 24)}`], ["hop limit", String(bytes[at + 7])]);
  } else return out;
  if (protocol === 6 && bytes.length >= next + 20) tcp(out, bytes, view, next);
  else if (protocol === 17 && bytes.length >= next + 8) out.push(["UDP", `port ${view.getUint16(next)} → ${view.getUint16(next + 2)}, ${view.getUint16(next + 4) - 8} bytes`]);
  else if ((protocol === 1 || protocol === 58) && bytes.length >= next + 2) out.push(["ICMP", `type ${bytes[next]}, code ${bytes[next + 1]}`]);
  return out;
}

function tcp(out, bytes, view, at) {
  const names = ["FIN", "SYN", "RST", "PSH", "ACK", "URG", "ECE", "CWR"], bits = bytes[at + 13];
  out.push(["TCP ports", `${view.getUint16(at)} → ${view.getUint16(at + 2)}`], ["sequence number", String(view.getUint32(at + 4))], ["acknowledgment number", String(view.getUint32(at + 8))],
    ["flags", names.filter((name, n) => bits >> n & 1).join(" ") + (bytes[at + 12] & 1 ? " AE" : "") || "none"], ["window", `${view.getUint16(at + 14)}, unscaled`], ["checksum", "0x" + view.getUint16(at + 16).toString(16).padStart(4, "0")]);
  const end = Math.min(bytes.length, at + (bytes[at + 12] >> 4) * 4), said = [];
  for (let p = at + 20; p < end;) {
    const kind = bytes[p];
    if (kind === 0) break;
    if (kind === 1) { p++; continue; }
    const length = bytes[p + 1];
    if (!(length >= 2) || p + length > end) { said.push("damaged"); break; }
    said.push(option(kind, length, view, p));
    p += length;
  }
  if (said.length) out.push(["options", said.join(", ")]);
}

function option(kind, length, view, at) {
  if (kind === 2 && length === 4) return `MSS ${view.getUint16(at + 2)}`;
  if (kind === 3 && length === 3) return `window scale ${view.getUint8(at + 2)}`;
  if (kind === 4) return "SACK permitted";
  if (kind === 8 && length === 10) return `timestamp ${view.getUint32(at + 2)}, echo ${view.getUint32(at + 6)}`;
  if (kind === 5) {
    const blocks = [];
    for (let p = at + 2; p + 8 <= at + length; p += 8) blocks.push(`${view.getUint32(p)}–${view.getUint32(p + 4)}`);
    return `SACK ${blocks.join(" ")}`;
  }
  return `option ${kind}, ${length} bytes`;
}

const hex = byte => byte.toString(16).padStart(2, "0");
const mac = (bytes, at) => [...bytes.subarray(at, at + 6)].map(hex).join(":");
const v4 = (bytes, at) => [...bytes.subarray(at, at + 4)].join(".");

function v6(view, at) {
  const groups = [];
  for (let n = 0; n < 8; n++) groups.push(view.getUint16(at + 2 * n).toString(16));
  const text = groups.join(":"), zeros = text.match(/(^|:)0(:0)+(:|$)/g);
  if (!zeros) return text;
  const longest = zeros.sort((a, b) => b.length - a.length)[0];
  return text.replace(longest, "::");
}

export function dump(bytes) {
  const lines = [];
  for (let at = 0; at < bytes.length; at += 16) {
    const row = [...bytes.subarray(at, at + 16)];
    lines.push(at.toString(16).padStart(4, "0") + "  " + row.map(hex).join(" ").padEnd(47) + "  " + row.map(byte => byte >= 32 && byte < 127 ? String.fromCharCode(byte) : ".").join(""));
  }
  return lines.join("\n");
}

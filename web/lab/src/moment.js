// What was so at a time: the sockets of each host, and what is in which queue. ``isBefore`` leaves out that very moment.
export function moment(run, t, isBefore = false) {
  const sockets = new Map(), queues = new Map();
  const socket = (host, connection) => {
    const key = `${host} ${connection}`;
    if (!sockets.has(key)) {
      const [local, peer] = connection.split(">");
      sockets.set(key, { host, connection, local, peer, state: "", send: 0, receive: 0, flight: 0, cwnd: 0, window: 0, rto: 0 });
    }
    return sockets.get(key);
  };
  for (const [kind, at, host, connection, ...rest] of run.changes) {
    if (isBefore ? at >= t : at > t) break;
    if (!connection) continue;
    if (kind === "state") {
      if (rest[0] === "SYN-RECEIVED" && !sockets.has(`${host} ${connection}`)) socket(host, connection);
      socket(host, connection).state = rest[0];
    } else if (kind === "gone") sockets.delete(`${host} ${connection}`);
    else if (kind === "queue") {
      const [name, depth, limit, what, peer] = rest, key = `${host} ${connection} ${name}`;
      if (!queues.has(key)) queues.set(key, { host, listener: connection, kind: name, entries: [], depth: 0, limit, overflows: 0 });
      const one = queues.get(key);
      if (depth > one.depth) one.entries.push(peer);
      else if (depth < one.depth) { const place = one.entries.indexOf(peer); one.entries.splice(place < 0 ? 0 : place, 1); }
      if (what.startsWith("overflow")) one.overflows++;
      Object.assign(one, { depth, limit });
    } else if (kind === "buffer") socket(host, connection)[rest[0]] = rest[1];
    else if (kind === "tcb") {
      const one = socket(host, connection);
      [one.flight, one.cwnd, one.send, one.receive, one.window, one.rto] = rest;
    }
  }
  const listed = [...sockets.values()].filter(one => one.state && one.state !== "CLOSED");
  return {
    sockets: listed,
    queues: [...queues.values()].filter(one => sockets.get(`${one.host} ${one.listener}`)?.state === "LISTEN"),
    find: (host, connection) => { const [a, b] = connection.split(">"); return sockets.get(`${host} ${b}>${a}`) || sockets.get(`${host} ${connection}`); },
  };
}

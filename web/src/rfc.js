// Which step of RFC 9293 (section 3.10.7, SEGMENT ARRIVES) a segment meets at its receiver, from the receiver's state and
// numbers before it came. The words are the steps'; what they did is read off the facts after it.

const STEPS = [
  ["first", "check sequence number"], ["second", "check the RST bit"], ["third", "check security"], ["fourth", "check the SYN bit"],
  ["fifth", "check the ACK field"], ["sixth", "check the URG bit"], ["seventh", "process the segment text"], ["eighth", "check the FIN bit"],
];

// ``meets``: the state, SND.UNA, SND.NXT, RCV.NXT and the receive window of the receiver before. Numbers are relative.
export function stepsOf(segment, meets) {
  const { state } = meets;
  if (!state || state === "CLOSED" || state === "released") return { section: "3.10.7.1", title: "CLOSED STATE", steps: [["", closed(segment)]] };
  if (state === "LISTEN") return { section: "3.10.7.2", title: "LISTEN STATE", steps: [listen(segment)] };
  if (state === "SYN-SENT") return { section: "3.10.7.3", title: "SYN-SENT STATE", steps: synSent(segment) };
  return { section: "3.10.7.4", title: `OTHER STATES: ${state}`, steps: other(segment, meets) };
}

function closed(segment) {
  return segment.flags.includes("R") ? "a reset is discarded" : "no connection: a reset is sent in answer";
}

function listen(segment) {
  if (segment.flags.includes("R")) return ["first", "check for a RST: ignored, there is nothing to reset"];
  if (segment.flags.includes(".") && !segment.flags.includes("S")) return ["second", "check for an ACK: nothing was sent that it could acknowledge; a reset, unless it is a SYN cookie come back"];
  if (segment.flags.includes("S")) return ["third", "check for a SYN: SYN-RECEIVED, a SYN and an ACK are sent, or a cookie, or it is dropped if the queue is full"];
  return ["fourth", "other data or control: dropped"];
}

function synSent(segment) {
  const steps = [];
  if (segment.flags.includes(".")) steps.push(["first", `check the ACK bit: it acknowledges ${segment.ack}`]);
  if (segment.flags.includes("R")) steps.push(["second", "check the RST bit: the connection is refused"]);
  else if (segment.flags.includes("S")) {
    steps.push(["fourth", segment.flags.includes(".") ? "check the SYN bit: our SYN is acknowledged, ESTABLISHED, an ACK is sent" : "check the SYN bit: both ends open at once, SYN-RECEIVED"]);
  } else steps.push(["fifth", "neither SYN nor RST: dropped"]);
  return steps;
}

function other(segment, meets) {
  const { una, nxt, rcvNxt, rcvWnd } = meets, steps = [], end = segment.seq + segment.length;
  const [order] = STEPS;
  if (rcvNxt >= 0) {
    const inside = segment.seq < rcvNxt + Math.max(rcvWnd, 1) && end >= rcvNxt;
    const where = segment.seq === rcvNxt ? "it is the one expected next" : segment.seq > rcvNxt ? `it is beyond a gap: expected is ${rcvNxt}` : end <= rcvNxt && segment.length ? `all of it is old: expected is ${rcvNxt}` : `it begins before what is expected, ${rcvNxt}`;
    steps.push([order[0], `${order[1]}: ${inside ? "acceptable" : "not acceptable"}, ${where}`]);
  } else steps.push([order[0], order[1]]);
  if (segment.flags.includes("R")) return [...steps, ["second", "check the RST bit: at RCV.NXT it ends the connection; elsewhere in the window it is challenged (RFC 5961)"]];
  if (segment.flags.includes("S")) return [...steps, ["fourth", "check the SYN bit: a challenge ACK is sent (RFC 5961)"]];
  if (!segment.flags.includes(".")) return [...steps, ["fifth", "check the ACK field: off, the segment is dropped"]];
  if (una >= 0) {
    const said = segment.ack > nxt ? `${segment.ack} was never sent: an ACK is sent, the segment is dropped` : segment.ack > una ? `SND.UNA moves from ${una} to ${segment.ack}` : segment.ack === una ? `nothing new: SND.UNA stays ${una}` : `old: SND.UNA is ${una} already`;
    steps.push(["fifth", `check the ACK field: ${said}`]);
  } else steps.push(["fifth", "check the ACK field"]);
  if (segment.length) {
    const rule = rcvNxt < 0 ? "" : segment.seq === rcvNxt ? `: taken, RCV.NXT becomes ${end} or more` : segment.seq > rcvNxt ? ": kept out of order, and acknowledged at once with a duplicate" : end > rcvNxt ? ": its new part is taken" : ": nothing new in it, it is acknowledged at once";
    steps.push(["seventh", `process the segment text${rule}`]);
  }
  if (segment.flags.includes("F")) steps.push(["eighth", "check the FIN bit: the peer sends no more; acknowledged once all before it is there"]);
  return steps;
}

// The page at `/`. Everything is asked of /v1; text goes into the page as text only.
"use strict";

const TURN = 1000; // ms between two looks
const PROFILES_EVERY = 5; // turns
const INSIGHTS_EVERY = 2; // turns
const EVENTS_KEPT = 200;
const STREAM_LIMIT = 1 << 20; // characters of one event
const TOKEN = "brownout-token";

const $ = (id) => document.getElementById(id);
const state = { stats: null, faults: null, profiles: [], broken: [], version: null, turns: 0, asked: 0, busy: new Set() };
const seen = new Map(); // what happened, the newest last
let timer = null;
let reading = false; // what the recording says is asked for
let stream = null;
let last = null; // id of the last event

class Locked extends Error {}

// --- asking --------------------------------------------------------------------------------------------------------

function headers(more) {
  const token = sessionStorage.getItem(TOKEN);
  return token ? { ...more, Authorization: `Bearer ${token}` } : { ...more };
}

async function api(method, path, body) {
  const options = { method, headers: headers(), cache: "no-store", credentials: "omit", redirect: "error" };
  if (body !== undefined) {
    options.headers["Content-Type"] = "application/json";
    options.body = JSON.stringify(body);
  }
  const reply = await fetch(path, options);
  if (reply.status === 401) throw new Locked();
  const text = await reply.text();
  let value = null;
  try {
    value = text ? JSON.parse(text) : null;
  } catch {
    throw new Error(`${path}: the answer is no JSON (${reply.status})`);
  }
  if (!reply.ok) throw new Error((value && value.detail) || `refused with ${reply.status}`);
  return value;
}

// --- turns ---------------------------------------------------------------------------------------------------------

async function turn() {
  clearTimeout(timer);
  const mine = ++state.asked; // an answer that a later question overtook is not shown
  try {
    if (!state.version) state.version = await api("GET", "/v1/version");
    const [stats, faults] = await Promise.all([api("GET", "/v1/stats?window=10s"), api("GET", "/v1/faults")]);
    if (state.turns % INSIGHTS_EVERY === 0) lookAtInsights();
    const profiles = state.turns++ % PROFILES_EVERY ? null : await api("GET", "/v1/profiles");
    if (mine !== state.asked) return;
    Object.assign(state, { stats, faults });
    if (profiles) Object.assign(state, { profiles: profiles.profiles, broken: profiles.broken });
    unlocked();
    show();
    listen();
  } catch (error) {
    if (mine !== state.asked) return;
    if (error instanceof Locked) return locked();
    state.version = null; // another process may answer next time
    stop();
    said("lost", "Connection lost, trying again. The figures are old.");
  }
  if (!document.hidden) timer = setTimeout(turn, TURN);
}

function now() {
  state.turns = 0;
  return turn();
}

function locked() {
  stop();
  const brought = sessionStorage.getItem(TOKEN) !== null;
  sessionStorage.removeItem(TOKEN);
  for (const [id, hidden] of [["ask", false], ["live", true], ["actions", true]]) $(id).hidden = hidden;
  $("refused").textContent = brought ? "This token is not known." : "";
  said("", "Locked");
  $("token").focus();
}

function unlocked() {
  if (!$("live").hidden) return;
  for (const [id, hidden] of [["ask", true], ["live", false], ["actions", false]]) $(id).hidden = hidden;
  $("version").textContent = state.version.version;
}

// Does something for a button, which waits meanwhile. What is refused is said.
async function act(key, what) {
  if (state.busy.has(key)) return;
  state.busy.add(key);
  try {
    await what();
    problem("");
  } catch (error) {
    if (error instanceof Locked) return locked();
    problem(error instanceof TypeError ? "Not done: the connection is lost." : `Not done: ${error.message}`);
  } finally {
    state.busy.delete(key);
  }
  await now();
}

function problem(text) {
  $("problem").textContent = text;
  $("problem").hidden = !text;
}

// --- what happens --------------------------------------------------------------------------------------------------

function stop() {
  if (stream) stream.abort();
  stream = null;
}

// Server-sent events by fetch: EventSource cannot send a token.
async function listen() {
  if (stream || document.hidden) return;
  const mine = (stream = new AbortController());
  try {
    const reply = await fetch("/v1/events", {
      headers: headers(last === null ? {} : { "Last-Event-ID": last }), signal: mine.signal,
      cache: "no-store", credentials: "omit", redirect: "error",
    });
    if (!reply.ok) throw new Error(reply.status === 503 ? "too many listen already" : `refused with ${reply.status}`);
    $("stream").textContent = "live";
    const reader = reply.body.pipeThrough(new TextDecoderStream()).getReader();
    for (let text = ""; ; ) {
      const { done, value } = await reader.read();
      if (done) break;
      const parts = (text + value).split("\n\n");
      text = parts.pop();
      if (text.length > STREAM_LIMIT) throw new Error("an event is too long");
      parts.forEach(happened);
    }
    $("stream").textContent = "ended, trying again";
  } catch (error) {
    if (!mine.signal.aborted) $("stream").textContent = `not live: ${error.message}`;
  }
  // The next turn listens again, once there is an answer to it.
  if (stream === mine) setTimeout(() => { if (stream === mine) stream = null; }, 2 * TURN);
}

function happened(text) {
  let data = "";
  let missed = false;
  for (const line of text.split("\n")) {
    if (line.startsWith("data: ")) data += line.slice(6);
    else if (line.startsWith("id: ")) last = line.slice(4);
    else if (line === "event: missed") missed = true;
  }
  if (!data) return;
  let event;
  try {
    event = JSON.parse(data);
  } catch {
    return;
  }
  if (missed) event = { event: "missed", missed: event.missed, time_us: Date.now() * 1000 };
  const words = inWords(event);
  const often = /^(session_|injected|refused|skipped|connect_failed|tap_lost)/.test(event.event);
  const key = often ? words : `${words} ${event.id}`;
  const before = seen.get(key);
  seen.delete(key);
  const session = event.event.startsWith("session_");
  seen.set(key, { words, session, time: event.time_us / 1000, count: (before ? before.count : 0) + 1 });
  if (seen.size > EVENTS_KEPT) seen.delete(seen.keys().next().value);
  if (/^(fault_|halted|resumed|proxy|reloaded)/.test(event.event)) soon();
  draw();
}

function inWords(e) {
  switch (e.event) {
    case "session_opened": return `${e.proxy}: session opened`;
    case "session_closed": return `${e.proxy}: session closed (${e.how})`;
    case "connect_failed": return `${e.proxy}: upstream not reached (${e.reason})`;
    case "tap_lost": return `${e.proxy}: decoder gave up (${e.reason})`;
    case "injected": return `${e.proxy}: ${e.faults.join(", ")} acted on ${e.operation}`;
    case "injected_aside": return `${e.proxy}: ${e.faults.join(", ")} acted on ${e.what}`;
    case "refused": return `${e.proxy}: ${e.fault} turned a connection away`;
    case "skipped": return `${e.proxy}: ${e.faults.join(", ")} skipped (${e.reason})`;
    case "skipped_aside": return `${e.proxy}: ${e.faults.join(", ")} left a ${e.what} alone (${e.reason})`;
    case "fault_enabled": return `fault ${e.fault} on${e.profile ? `, of profile ${e.profile}` : ""}`;
    case "fault_disabled": return `fault ${e.fault} off (${e.why})`;
    case "halted": return "halted: everything is off";
    case "resumed": return "resumed: faults are allowed again";
    case "proxy": return `proxy ${e.proxy} ${e.change}`;
    case "reload_failed": return `reload refused: ${e.problem}`;
    case "reloaded": return "configuration reloaded";
    case "missed": return e.missed === null ? "events were missed" : `${e.missed} events were missed`;
    default: return e.event;
  }
}

function once(what, delay) {
  let waiting = false;
  return () => {
    if (waiting) return;
    waiting = true;
    setTimeout(() => { waiting = false; what(); }, delay);
  };
}

const soon = once(now, 100);
const draw = once(showEvents, 300);

// --- words for figures -----------------------------------------------------------------------------------------------

const number = (n) => n.toLocaleString("en").replaceAll(",", "\u202f");
const counted = (n, what) => `${number(n)} ${what}${n === 1 ? "" : "s"}`;
const rate = (r) => (r >= 100 || r === 0 ? number(Math.round(r)) : r.toFixed(1));

function time(us) {
  if (us < 1000) return `${us} \u00b5s`;
  if (us < 1e6) return `${(us / 1000).toPrecision(3)} ms`;
  return `${(us / 1e6).toFixed(us < 1e7 ? 2 : 1)} s`;
}

const percentile = (l, name) => (l ? `${l.enough_samples[name] ? "" : "~"}${time(l[`${name}_us`])}` : "\u2013");

function left(ms) {
  const s = Math.ceil(ms / 1000);
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min ${String(s % 60).padStart(2, "0")} s`;
  return `${Math.floor(s / 3600)} h ${String(Math.floor((s % 3600) / 60)).padStart(2, "0")} min`;
}

// --- showing -------------------------------------------------------------------------------------------------------

function element(name, text, more) {
  const made = Object.assign(document.createElement(name), more);
  if (text !== undefined) made.textContent = text;
  return made;
}

// Children by key: what is there stays (and keeps the focus), what is new is made, what is gone is removed.
function keyed(parent, items, key, make, update) {
  const focused = parent.contains(document.activeElement) ? document.activeElement : null;
  const wanted = new Set(items.map(key));
  const old = new Map();
  for (const child of [...parent.children]) {
    if (wanted.has(child.dataset.key)) old.set(child.dataset.key, child);
    else child.remove();
  }
  items.forEach((item, at) => {
    const name = key(item);
    let child = old.get(name);
    if (!child) {
      child = make(item);
      child.dataset.key = name;
    }
    if (parent.children[at] !== child) parent.insertBefore(child, parent.children[at] || null);
    update(child, item);
  });
  // Whoever is moved loses it.
  if (focused && focused.isConnected && document.activeElement !== focused) focused.focus({ preventScroll: true });
}

function text(node, value) {
  if (node.textContent !== value) node.textContent = value;
}

function said(kind, words) {
  $("state").className = kind;
  text($("state"), words);
}

function show() {
  const { halted, faults } = state.faults;
  const many = `${counted(faults.length, "fault")} ${faults.length === 1 ? "is" : "are"} on`;
  if (halted) said("halted", "Halted: nothing can be switched on");
  else if (faults.length) said("on", many);
  else said("", "No fault is on");
  $("resume").hidden = !halted;
  $("halt").disabled = halted;
  showFaults(faults);
  showProxies(state.stats.proxies);
  showApis(state.stats.proxies);
  showProfiles();
}

function cells(row, values) {
  values.forEach(([value, kind], at) => {
    const cell = row.cells[at] || row.appendChild(document.createElement(at ? "td" : "th"));
    if (!at) cell.scope = "row";
    text(cell, value);
    if (cell.className !== (kind || "")) cell.className = kind || "";
  });
}

function showFaults(faults) {
  $("faults").hidden = $("faults").parentElement.hidden = !faults.length;
  $("no-faults").hidden = faults.length > 0;
  keyed($("faults").tBodies[0], faults, (f) => f.name, (f) => {
    const row = element("tr");
    cells(row, [[""], [""], [""], [""], [""], [""]]);
    const off = element("button", "Off", { type: "button", ariaLabel: `Switch off ${f.name}` });
    off.onclick = () => act(`fault ${f.name}`, () => api("DELETE", `/v1/faults/${encodeURIComponent(f.name)}`));
    row.appendChild(element("td")).append(off);
    return row;
  }, (row, f) => cells(row, [
    [f.name], [f.profile || "\u2013"], [f.fault.proxy || "*"], [f.in_force ? f.fault.action : `${f.fault.action} (waiting)`],
    [number(f.injected), "n"], [left(f.left_ms), "n"],
  ]));
}

const COLUMNS = ["Operation", "Per second", "n", "Errors", "Injected", "Under way", "p50", "p95", "p99", "max", "p99 upstream"];

function showProxies(proxies) {
  $("no-proxies").hidden = proxies.length > 0;
  keyed($("proxies"), proxies, (p) => p.name, makeProxy, (box, p) => {
    const { sessions, slo } = p;
    const over = ["mean", "p95", "p99"].filter((name) => slo[name] && slo[name].met === false);
    const kept = over.length ? `; limit of ${over.join(", ")} not kept` : "";
    text(box.querySelector(".about"),
      `${p.protocol}, ${counted(sessions.open, "session")} open, ${number(sessions.busy)} busy, ${counted(p.total.outstanding, "request")} under way${kept}`);
    const rows = [{ operation: "total", class: "", ...p.total }, ...p.operations.filter((o) => o.count || o.outstanding)
      .sort((a, b) => b.count - a.count || (a.operation < b.operation ? -1 : 1))];
    keyed(box.querySelector("tbody"), rows, (o) => `${o.class} ${o.operation}`, () => element("tr"), (row, o) => {
      row.className = o.class ? "" : "total";
      cells(row, [
        [o.operation], [rate(o.rate_per_second), "n"], [number(o.count), "n"],
        [number(o.errors), o.errors ? "n hot" : "n"], [number(o.injected), o.injected ? "n hot" : "n"],
        [number(o.outstanding), "n"], [percentile(o.client, "p50"), "n"], [percentile(o.client, "p95"), "n"],
        [percentile(o.client, "p99"), "n"], [o.client ? time(o.client.max_us) : "\u2013", "n"],
        [percentile(o.upstream, "p99"), "n"],
      ]);
    });
  });
}

const makeProxy = (p) => makeTable(p.name, `Figures of ${p.name}`, COLUMNS, 1);

// A table below a heading; columns from the given one on are figures.
function makeTable(name, label, columns, figures) {
  const box = element("div", undefined, { className: "proxy" });
  const head = box.appendChild(element("div", undefined, { className: "head" }));
  head.append(element("h3", name), element("span", "", { className: "about note" }));
  const wide = box.appendChild(element("div", undefined, { className: "wide", role: "region", tabIndex: 0 }));
  wide.ariaLabel = label;
  const table = wide.appendChild(element("table"));
  const row = table.createTHead().insertRow();
  columns.forEach((column, at) => row.append(element("th", column, { scope: "col", className: at < figures ? "" : "n" })));
  table.createTBody();
  return box;
}

// Beside the turns, which do not wait for it: reading a long recording takes a while.
async function lookAtInsights() {
  if (reading) return;
  reading = true;
  try {
    const own = $("api").value;
    showInsights(await api("GET", `/v1/insights${own && `?api=${encodeURIComponent(own)}`}`));
  } catch (error) {
    // A turn says what is wrong with the connection or the token.
    if (!(error instanceof Locked || error instanceof TypeError)) text($("watching"), `not known: ${error.message}`);
  }
  reading = false;
}

// Where several proxies could be the service's own API, its users say which one is.
function showApis(proxies) {
  const names = proxies.filter((p) => p.protocol === "http").map((p) => p.name);
  const choice = $("api");
  const known = [...choice.options].slice(1).map((o) => o.value);
  if (names.join("\n") !== known.join("\n")) {
    const chosen = choice.value;
    choice.replaceChildren(choice.options[0], ...names.map((name) => element("option", name, { value: name })));
    choice.value = names.includes(chosen) ? chosen : "";
  }
  $("apis").hidden = names.length < 2;
}

// What is not known for one and the same reason is one line.
function together(lines) {
  const joined = [];
  for (const line of lines) {
    const last = joined.at(-1);
    const same = last && line.remedy && ["said", "remedy", "nested", "samples"].every((key) => last[key] === line[key]);
    if (same) last.subject += `, ${line.subject}`;
    else joined.push({ ...line });
  }
  return joined;
}

function showInsights(all) {
  const on = all.recording !== "off";
  $("watch").hidden = all.recording === "file";
  text($("watch"), on ? "Stop watching" : "Watch");
  $("watch").dataset.on = on;
  const unseen = all.unseen_sessions ? `; ${counted(all.unseen_sessions, "connection")} open from before, not seen` : "";
  const of = { memory: "recorded in memory", file: "recorded to a file" }[all.recording];
  text($("watching"), on
    ? `${left(all.length_ms)} ${of}, ${counted(all.records, "record")}${all.cut ? "; earlier ones are not read" : ""}${unseen}` : all.remedy);
  keyed($("insights"), all.dependencies, (d) => d.proxy, (d) => makeTable(
    d.proxy, `Insights about ${d.proxy}`, ["Subject", "What is known", "n"], 2,
  ), (box, d) => {
    text(box.querySelector(".about"), d.affected ? "" : "no fault has touched it");
    box.querySelector(".wide").hidden = !d.affected;
    keyed(box.querySelector("tbody"), together(d.lines), (l) => l.subject, () => element("tr"), (row, l) => {
      row.className = `${l.nested ? "nested" : ""} ${l.remedy ? "open" : ""}`.trim();
      const said = l.remedy ? `not known: ${l.said}; needed: ${l.remedy}` : l.said;
      cells(row, [[l.subject], [said, "said"], [l.samples === undefined ? "\u2013" : number(l.samples), "n"]]);
    });
  });
}

function showProfiles() {
  const wanted = $("filter").value.trim().toLowerCase();
  const on = new Map(); // the time that is left, by profile
  for (const f of state.faults ? state.faults.faults : []) {
    if (f.profile) on.set(f.profile, Math.max(on.get(f.profile) || 0, f.left_ms));
  }
  const shown = state.profiles.filter((p) => on.has(p.name) || `${p.name} ${p.description}`.toLowerCase().includes(wanted));
  $("no-profiles").hidden = shown.length > 0;
  $("broken").hidden = !state.broken.length;
  text($("broken"), `No profile, as \`brownout check\` says: ${state.broken.map((p) => p.name).join(", ")}`);
  keyed($("profiles"), shown, (p) => p.name, makeProfile, (item, p) => {
    const enabled = on.has(p.name);
    item.className = enabled ? "on" : "";
    const button = item.querySelector("button");
    if (button.ariaChecked !== String(enabled)) button.ariaChecked = String(enabled);
    button.disabled = !enabled && state.faults.halted;
    text(item.querySelector("p"), enabled ? `on, ${left(on.get(p.name))} left` : p.description);
  });
}

function makeProfile(p) {
  const item = element("li");
  const button = element("button", undefined, { type: "button", role: "switch", ariaLabel: `Profile ${p.name}`, ariaChecked: "false" });
  button.onclick = () => act(`profile ${p.name}`, () => {
    const path = `/v1/profiles/${p.name.split("/").map(encodeURIComponent).join("/")}`;
    return button.ariaChecked === "true"
      ? api("POST", `${path}/disable`) : api("POST", `${path}/enable`, { ttl: $("ttl").value });
  });
  const about = element("div");
  about.append(element("b", p.name), element("p", "", { className: "note" }));
  item.append(button, about);
  return item;
}

function showEvents() {
  const quiet = $("quiet").checked;
  const shown = [...seen].filter(([, e]) => !(quiet && e.session)).reverse();
  keyed($("events"), shown, ([key]) => key, () => {
    const item = element("li");
    item.append(element("time"), element("span"));
    return item;
  }, (item, [, e]) => {
    text(item.children[0], new Date(e.time).toLocaleTimeString("en-GB"));
    text(item.children[1], e.count > 1 ? `${e.words} \u00d7 ${number(e.count)}` : e.words);
  });
}

// --- start ---------------------------------------------------------------------------------------------------------

$("halt").onclick = () => act("halt", () => api("POST", "/v1/halt"));
$("resume").onclick = () => act("halt", () => api("POST", "/v1/resume"));
$("watch").onclick = () => act("watch", () => api($("watch").dataset.on === "true" ? "DELETE" : "POST", "/v1/recording"));
$("api").onchange = lookAtInsights;
$("filter").oninput = () => state.faults && showProfiles();
$("quiet").onchange = showEvents;
$("ask").onsubmit = (event) => {
  event.preventDefault();
  const token = $("token").value.trim();
  $("token").value = "";
  // A header takes nothing else; no token has it.
  if (!/^[\x21-\x7e]+$/.test(token)) {
    $("refused").textContent = "This is no token.";
    return;
  }
  sessionStorage.setItem(TOKEN, token);
  now();
};
document.addEventListener("visibilitychange", () => (document.hidden ? stop() : now()));
now();

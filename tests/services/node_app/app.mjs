// The service of ../fastapi_app in Node, built well or badly in exactly one way: VARIANT says which (see variants.toml).
//
//     GET  /health          no dependency
//     GET  /modules         a list: from the cache, else from the table
//     GET  /modules/{id}    one: from the cache, else from the table
//     POST /modules         {"name": "..."}: into the table in a transaction, and out of the cache
//
// Environment: REDIS_URL, DATABASE_URL, PORT, VARIANT (default "well"). Its packages are those of the directory it runs in. What it
// does of itself goes to stdout as JSON lines, with their time.
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { createRequire } from "node:module";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

const require = createRequire(join(process.cwd(), "here.js"));
const CircuitBreaker = require("opossum");
const pg = require("pg");
const { createClient } = require("redis");
const { parse } = require("smol-toml");

const variants = parse(readFileSync(new URL("variants.toml", import.meta.url), "utf8"));
const name = process.env.VARIANT ?? "well";
if (!(name in variants)) {
  console.error(`VARIANT=${name} is none of ${Object.keys(variants).join(", ")}`);
  process.exit(1);
}
const is = { ...variants.well, ...variants[name] };

const say = (what, more = {}) => console.log(JSON.stringify({ at: Date.now() / 1000, what, ...more }));

/** Says once that a dependency has failed, and again only after it has worked. */
function noticed(of) {
  let works = true;
  return {
    worked: () => (works = true),
    failed: () => {
      if (works) say("failed", { of });
      works = false;
    },
  };
}

const ofCache = noticed("cache");
const ofTable = noticed("table");

/** The breaker is open: nobody is asked. */
class Open extends Error {}

class Answer extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

function limited(work, seconds) {
  if (!seconds) return work();
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error("too late")), seconds * 1000);
  });
  return Promise.race([work(), late]).finally(() => clearTimeout(timer));
}

// --- the cache --------------------------------------------------------------------------------------------------------

/** Opens when too large a share of the calls of a window failed. Failures in a row are counted only to tell them. */
function opossum(work) {
  const breaker = new CircuitBreaker(work, {
    timeout: is.gives_up === "call" && is.cache_timeout_s ? is.cache_timeout_s * 1000 : false,
    errorThresholdPercentage: is.error_share * 100,
    rollingCountTimeout: is.window_s * 1000,
    volumeThreshold: is.at_least,
    resetTimeout: is.open_s * 1000,
  });
  let failures = 0;
  breaker.on("failure", () => failures++);
  breaker.on("success", () => (failures = 0));
  breaker.on("open", () => say("open", { failures }));
  breaker.on("halfOpen", () => say("half-open"));
  breaker.on("close", () => say("closed"));
  return async (words) => {
    try {
      return await breaker.fire(words);
    } catch (error) {
      throw error.code === "EOPENBREAKER" ? new Open() : error;
    }
  };
}

const unguarded = (work) => (words) => limited(() => work(words), is.gives_up === "call" && is.cache_timeout_s);

function redis() {
  const limit = is.cache_timeout_s * 1000 || undefined;
  const client = createClient({
    url: process.env.REDIS_URL,
    socket: {
      connectTimeout: limit,
      socketTimeout: is.gives_up === "socket" ? limit : undefined,
      reconnectStrategy: () => 10,
    },
  });
  // Without a listener the first lost connection ends the process.
  client.on("error", () => {});
  return client;
}

const abandoned = [];

/** A connection of its own for each call, which nobody closes where the call fails. */
async function leaking(words) {
  const client = redis();
  abandoned.push(client);
  await client.connect();
  const result = await limited(() => client.sendCommand(words), is.cache_timeout_s);
  abandoned.splice(abandoned.indexOf(client), 1);
  client.destroy();
  return result;
}

const shared = redis();
const guarded = (is.breaker === "opossum" ? opossum : unguarded)(is.leaks ? leaking : (words) => shared.sendCommand(words));

function pause(attempt) {
  const longest = is.backoff_s * 1000 * (is.backoff === "exponential" ? 2 ** (attempt - 1) : 1);
  return is.jitter ? Math.random() * longest : longest;
}

/** The result, or null where the cache cannot be used: the service goes on without it. */
async function cache(...words) {
  for (let attempt = 1; ; attempt++) {
    try {
      const result = await guarded(words);
      ofCache.worked();
      return result;
    } catch (error) {
      if (error instanceof Open) return null;
      ofCache.failed();
      if (attempt < is.attempts) await sleep(pause(attempt));
      else if (is.on_cache_failure === "error") throw new Answer(is.error_status, "the cache does not answer");
      else return null;
    }
  }
}

// --- the table --------------------------------------------------------------------------------------------------------

const limit = is.table_timeout_s * 1000;
const table = new pg.Pool({
  connectionString: process.env.DATABASE_URL,
  max: is.table_pool,
  connectionTimeoutMillis: limit,
  query_timeout: limit,
});
// Without listeners a lost connection ends the process, whether it is idle or in use.
table.on("error", () => {});
table.on("connect", (client) => client.on("error", () => {}));

async function ask(work) {
  try {
    const result = await work();
    ofTable.worked();
    return result;
  } catch (error) {
    ofTable.failed();
    throw new Answer(503, error.message);
  }
}

const rows = (sql, ...values) => ask(async () => (await table.query(sql, values)).rows);

/** One that failed is closed, not given back: what its transaction did is undone. */
async function insert(module) {
  const client = await table.connect();
  try {
    await client.query("begin");
    const { rows } = await client.query("insert into modules (name) values ($1) returning id", [module]);
    await client.query("commit");
    client.release();
    return rows[0].id;
  } catch (error) {
    client.release(error);
    throw error;
  }
}

// --- routes -----------------------------------------------------------------------------------------------------------

async function list() {
  const known = await cache("GET", "modules");
  if (known !== null) return JSON.parse(known);
  const found = await rows("select id, name from modules order by id desc limit 20");
  await cache("SET", "modules", JSON.stringify(found), "EX", "1");
  return found;
}

async function one(id) {
  let known = await cache("GET", `module:${id}`);
  if (known === null) {
    const [row] = await rows("select name from modules where id = $1", id);
    if (!row) throw new Answer(404, "no such module");
    known = row.name;
    await cache("SET", `module:${id}`, known, "EX", "60");
  }
  return { id, name: known };
}

async function add(request) {
  let text = "";
  for await (const part of request) text += part;
  const module = JSON.parse(text).name;
  if (typeof module !== "string" || !module) throw new Answer(422, "a module needs a name");
  const id = await ask(() => insert(module));
  await cache("DEL", "modules");
  return { id, name: module };
}

async function route(request) {
  const { method, url } = request;
  if (method === "GET" && url === "/health") return { status: "ok" };
  if (method === "GET" && url === "/modules") return list();
  if (method === "POST" && url === "/modules") return add(request);
  const number = method === "GET" && /^\/modules\/(\d+)$/.exec(url);
  if (number) return one(Number(number[1]));
  throw new Answer(404, "no such route");
}

const server = createServer(async (request, response) => {
  let status = request.method === "POST" ? 201 : 200;
  let body;
  try {
    body = await route(request);
  } catch (error) {
    status = error.status ?? 500;
    body = { detail: error.message };
  }
  response.writeHead(status, { "Content-Type": "application/json" });
  response.end(JSON.stringify(body));
});

if (!is.leaks) await shared.connect();
// Of two that create it at once, one fails.
await table.query("create table if not exists modules (id serial primary key, name text not null)").catch(() => {});
server.listen(Number(process.env.PORT), "127.0.0.1", () => say("ready", { variant: name }));
process.on("SIGTERM", () => process.exit(0));

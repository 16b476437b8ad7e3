// What a Node service does: fetch with keep-alive, node-redis (RESP3, pipelines, messages), node-postgres (pool,
// prepared statements, transactions, notifications). Prints one JSON document, which is the same whatever is in between.
// Usage: node client.mjs REDIS_URL DATABASE_URL HTTP_URL
import { createRequire } from "node:module";
import { createHash } from "node:crypto";
import { join } from "node:path";

const [redisUrl, databaseUrl, httpUrl] = process.argv.slice(2);
const require = createRequire(join(process.cwd(), "here.js"));
const { createClient } = require("redis");
const pg = require("pg");

const digest = (bytes) => createHash("sha256").update(bytes).digest("hex");

async function http() {
  const hello = await Promise.all(Array.from({ length: 50 }, () => fetch(`${httpUrl}/hello`).then((r) => r.text())));
  const chunked = digest(Buffer.from(await (await fetch(`${httpUrl}/chunked/50`)).arrayBuffer()));
  const body = "x".repeat(100_000);
  const echoed = await (await fetch(`${httpUrl}/echo`, { method: "POST", body })).text();
  const status = (await fetch(`${httpUrl}/status/503`)).status;
  return { hello: hello.length, same: hello.every((text) => text === "hello\n"), chunked, echoed: echoed === body, status };
}

async function redis(RESP) {
  const client = await createClient({ url: redisUrl, RESP }).connect();
  const listener = await client.duplicate().connect();
  const messages = [];
  await listener.subscribe("news", (message) => messages.push(message));
  // Calls in one turn of the event loop go out as one pipeline.
  await Promise.all(Array.from({ length: 1000 }, (_, n) => client.set(`key:${n}`, `${n}`)));
  const values = await Promise.all(Array.from({ length: 1000 }, (_, n) => client.get(`key:${n}`)));
  const multi = await client.multi().set("a", "1").incr("a").exec();
  for (let n = 0; n < 20; n++) await client.publish("news", `${n}`);
  while (messages.length < 20) await new Promise((resolve) => setTimeout(resolve, 5));
  const error = await client.lPush("a", "x").catch((e) => e.message);
  await listener.close();
  await client.close();
  return { values: digest(values.join()), multi, messages, error };
}

async function postgres() {
  const pool = new pg.Pool({ connectionString: databaseUrl, max: 5 });
  const listener = new pg.Client({ connectionString: databaseUrl });
  await listener.connect();
  const notified = new Promise((resolve) => listener.on("notification", (n) => resolve(n.payload)));
  await listener.query("listen node");
  await pool.query("drop table if exists node_e2e; create table node_e2e (n int primary key, s text)");
  const client = await pool.connect();
  await client.query("begin");
  for (let n = 0; n < 100; n++) {
    await client.query({ name: "insert", text: "insert into node_e2e values ($1, $2)", values: [n, `row ${n}`] });
  }
  await client.query("commit");
  const violation = await client.query("insert into node_e2e values (1, '')").catch((e) => e.code);
  client.release();
  const sums = await Promise.all(
    Array.from({ length: 100 }, (_, n) => pool.query("select $1::int + $1::int as sum", [n]).then((r) => r.rows[0].sum)),
  );
  const rows = (await pool.query("select * from node_e2e order by n")).rows;
  await pool.query("notify node, 'payload'");
  const notification = await notified;
  await listener.end();
  await pool.end();
  return { violation, sums, rows: digest(JSON.stringify(rows)), notification };
}

console.log(JSON.stringify({ http: await http(), resp2: await redis(2), resp3: await redis(3), postgres: await postgres() }));

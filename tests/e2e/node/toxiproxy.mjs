// What a test suite does with toxiproxy-node-client. Prints one JSON document.
// Usage: node toxiproxy.mjs ADMIN_URL REDIS_HOST REDIS_PORT
import { createRequire } from "node:module";
import { connect } from "node:net";
import { join } from "node:path";
import assert from "node:assert/strict";

const [admin, redisHost, redisPort] = process.argv.slice(2);
const require = createRequire(join(process.cwd(), "here.js"));
const { Toxiproxy } = require("toxiproxy-node-client");

/** What Redis answers to a PING until the end of it or of the connection. */
function ping(listen) {
  const at = listen.lastIndexOf(":");
  return new Promise((resolve) => {
    let reply = "";
    const socket = connect(Number(listen.slice(at + 1)), listen.slice(0, at), () => socket.write("PING\r\n"));
    const done = () => {
      socket.destroy();
      resolve(reply);
    };
    socket.on("data", (data) => {
      reply += data;
      if (reply.endsWith("\r\n")) done();
    });
    socket.on("error", done);
    socket.on("close", done);
  });
}

const client = new Toxiproxy(admin);
const version = await client.getVersion();
await client.populate([{ name: "cache", listen: "127.0.0.1:0", upstream: `${redisHost}:${redisPort}` }]);
let proxy = await client.get("cache");
assert.equal(proxy.enabled, true);

const attributes = {
  latency: { latency: 80, jitter: 0 },
  bandwidth: { rate: 1000 },
  slow_close: { delay: 10 },
  slicer: { average_size: 100, size_variation: 10, delay: 10 },
  timeout: { timeout: 100 },
  limit_data: { bytes: 3 },
  reset_peer: { timeout: 0 },
};
const replies = {};
let late = 0;
for (const [type, wanted] of Object.entries(attributes)) {
  const toxic = await proxy.addToxic({ type, name: "t", stream: "downstream", toxicity: 1, attributes: wanted });
  assert.deepEqual(toxic.attributes, wanted);
  assert.deepEqual((await proxy.getToxic("t")).attributes, wanted);
  const began = performance.now();
  replies[type] = await ping(proxy.listen);
  if (type === "latency") late = performance.now() - began;
  await toxic.remove();
}
const latency = await proxy.addToxic({
  type: "latency",
  name: "late",
  stream: "upstream",
  toxicity: 0.5,
  attributes: { latency: 1, jitter: 0 },
});
assert.equal(latency.toxicity, 0.5);

proxy = await proxy.update({ enabled: false, listen: proxy.listen, upstream: proxy.upstream });
assert.equal(proxy.enabled, false);
await client.reset();
const all = await client.getAll();
assert.equal(all.cache.enabled, true);
await all.cache.remove();
const left = Object.keys(await client.getAll());

console.log(JSON.stringify({ version, toxics: Object.keys(attributes).sort(), replies, late, left }));

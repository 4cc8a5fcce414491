// Turns with grammY's sessions: node turns.mjs redis|postgres URL PREFIX. Each line of the input is a task in JSON, and
// is answered by a line. {workers, seconds, first} measures: what is answered are the seconds that each turn took.
// {contended, atOnce} lets turns of one session meet, half of them through a second adapter.
import { createInterface } from "node:readline";
import { setImmediate as rest } from "node:timers/promises";
import { session } from "grammy";
import { RedisAdapter } from "@grammyjs/storage-redis";
import { PsqlAdapter } from "@grammyjs/storage-psql";
import { Redis } from "ioredis";
import pg from "pg";

const [backend, url, prefix] = process.argv.slice(2);
let first = {};

async function adapter() {
  if (backend === "redis") return new RedisAdapter({ instance: new Redis(url) });
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  return await PsqlAdapter.create({ tableName: "grammy_sessions", client });
}

function turnOn(storage) {
  const middleware = session({
    initial: () => structuredClone(first),
    prefix,
    storage,
    getSessionKey: (ctx) => `${ctx.chatId}`,
  });
  return async (chatId, pause) => {
    const ctx = { chatId };
    await middleware(ctx, async () => {
      ctx.session.n += 1;
      if (pause) await rest();
    });
  };
}

const storages = [await adapter(), await adapter()];
const turns = storages.map(turnOn);

async function measure({ workers, seconds }) {
  const taken = [];
  const end = performance.now() + seconds * 1000;
  await Promise.all(
    Array.from({ length: workers }, async (_, chat) => {
      for (let before = performance.now(); before < end; before = performance.now()) {
        await turns[0](chat, false);
        taken.push((performance.now() - before) / 1000);
      }
    }),
  );
  return taken;
}

async function contend({ contended, atOnce }) {
  let left = contended, acknowledged = 0, refused = 0;
  const began = performance.now();
  await Promise.all(
    Array.from({ length: atOnce }, async (_, number) => {
      while (left-- > 0) {
        try {
          await turns[number % 2]("contended", true);
          acknowledged += 1;
        } catch {
          refused += 1;
        }
      }
    }),
  );
  const seconds = (performance.now() - began) / 1000;
  const count = (await storages[0].read(`${prefix}contended`)).n;
  return { acknowledged, refused, count, seconds };
}

for await (const line of createInterface({ input: process.stdin })) {
  const task = JSON.parse(line);
  first = task.first ?? first;
  console.log(JSON.stringify(await (task.contended ? contend(task) : measure(task))));
}
process.exit(0);

// A bot of grammY's that remembers what it is told, in the storage that the tests name. No word leaves this machine.
//
// Reads one JSON object from its standard input: {storage: {kind, url, table?, folder?, ttl?}, session: {prefix?, key?,
// millisecondsToLive?, versions?}, updates: [{chat, from, change}]}. A change is merged into the session of the update;
// {"$date": "…"} in it becomes a Date. Prints the sessions after each update, as one JSON array.
import { FileAdapter } from "@grammyjs/storage-file";
import { MongoDBAdapter } from "@grammyjs/storage-mongodb";
import { PsqlAdapter } from "@grammyjs/storage-psql";
import { RedisAdapter } from "@grammyjs/storage-redis";
import { Bot, enhanceStorage, session } from "grammy";
import { Redis } from "ioredis";
import { MongoClient } from "mongodb";
import pg from "pg";

const OPEN = {
  redis: async ({ url, ttl }) => {
    const instance = new Redis(url);
    return [new RedisAdapter({ instance, ttl }), () => instance.quit()];
  },
  file: async ({ folder }) => [new FileAdapter({ dirName: folder }), async () => {}],
  psql: async ({ url, table }) => {
    const client = new pg.Client(url);
    await client.connect();
    return [await PsqlAdapter.create({ client, tableName: table }), () => client.end()];
  },
  mongodb: async ({ url, table }) => {
    const client = new MongoClient(url);
    return [new MongoDBAdapter({ collection: client.db().collection(table) }), () => client.close()];
  },
};
const KEYS = {
  user: (ctx) => ctx.from?.id.toString(),
  user_in_chat: (ctx) => (ctx.from && ctx.chat ? `${ctx.from.id}/${ctx.chat.id}` : undefined),
};

function revive(_name, value) {
  return value?.$date === undefined ? value : new Date(value.$date);
}

function enhanced(storage, { millisecondsToLive, versions }) {
  if (millisecondsToLive === undefined && versions === undefined) return storage;
  const migrations = versions && Object.fromEntries(versions.map((version) => [version, (data) => data]));
  return enhanceStorage({ storage, millisecondsToLive, migrations });
}

async function main({ storage, session: options, updates }) {
  const [adapter, close] = await OPEN[storage.kind](storage);
  const botInfo = { id: 1, is_bot: true, first_name: "Bot", username: "a_bot" };
  const bot = new Bot("1:offline", { botInfo });
  const replies = [];
  bot.api.config.use(async (_previous, _method, payload) => {
    replies.push(JSON.parse(payload.text));
    return { ok: true, result: { message_id: 1, date: 0, chat: { id: payload.chat_id, type: "private" } } };
  });
  bot.use(
    session({
      initial: () => ({ told: 0 }),
      storage: enhanced(adapter, options),
      prefix: options.prefix,
      ...(options.key && { getSessionKey: KEYS[options.key] }),
    }),
  );
  bot.on("message:text", async (ctx) => {
    Object.assign(ctx.session, JSON.parse(ctx.message.text, revive));
    ctx.session.told += 1;
    await ctx.reply(JSON.stringify(ctx.session));
  });
  for (const [index, { chat, from, change }] of updates.entries()) {
    await bot.handleUpdate({
      update_id: index,
      message: {
        message_id: index,
        date: 0,
        text: JSON.stringify(change),
        chat: { id: chat, type: chat < 0 ? "supergroup" : "private", title: "A chat", first_name: "Ann" },
        from: { id: from, is_bot: false, first_name: "Ann" },
      },
    });
  }
  await close();
  console.log(JSON.stringify(replies));
}

let input = "";
for await (const chunk of process.stdin) input += chunk;
await main(JSON.parse(input));

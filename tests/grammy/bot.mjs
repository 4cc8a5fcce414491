// Bots of grammY's that remember what they are told, where the tests say. No word leaves this machine.
//
// Reads a line of JSON for each bot: {storage: {kind, url, table?, folder?, clientPrefix?, ttl?}, session: {prefix?, key?,
// millisecondsToLive?, versions?}, updates: [{chat, from, change}]}. A change is merged into the session of its update;
// {"$date": "…"} in it becomes a Date. Answers with a line of JSON: the sessions after each update, or {error}.
import { createInterface } from "node:readline";

import { Bot, enhanceStorage, session } from "grammy";

const OPEN = {
  redis: async ({ url, clientPrefix, ttl }) => {
    const [{ RedisAdapter }, { Redis }] = await Promise.all([import("@grammyjs/storage-redis"), import("ioredis")]);
    const instance = new Redis(url, { keyPrefix: clientPrefix });
    return [new RedisAdapter({ instance, ttl }), () => instance.quit()];
  },
  file: async ({ folder }) => {
    const { FileAdapter } = await import("@grammyjs/storage-file");
    return [new FileAdapter({ dirName: folder }), async () => {}];
  },
  psql: async ({ url, table }) => {
    const [{ PsqlAdapter }, { default: pg }] = await Promise.all([import("@grammyjs/storage-psql"), import("pg")]);
    const client = new pg.Client(url);
    await client.connect();
    return [await PsqlAdapter.create({ client, tableName: table }), () => client.end()];
  },
  mongodb: async ({ url, table }) => {
    const [{ MongoDBAdapter }, { MongoClient }] = await Promise.all([
      import("@grammyjs/storage-mongodb"),
      import("mongodb"),
    ]);
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

async function remember({ storage, session: options, updates }) {
  const [adapter, close] = await OPEN[storage.kind](storage);
  try {
    return await handle(adapter, options, updates);
  } finally {
    await close();
  }
}

async function handle(adapter, options, updates) {
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
  return replies;
}

for await (const line of createInterface({ input: process.stdin })) {
  const answer = await remember(JSON.parse(line)).catch((error) => ({ error: String(error.stack) }));
  console.log(JSON.stringify(answer));
}

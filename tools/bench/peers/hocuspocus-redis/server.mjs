// Hocuspocus with its Redis extension as their documentation starts them, on 127.0.0.1:$PORT with Redis at $REDIS_PORT.
import { Redis } from "@hocuspocus/extension-redis";
import { Server } from "@hocuspocus/server";

await new Server({
  port: Number(process.env.PORT),
  address: "127.0.0.1",
  quiet: true,
  extensions: [new Redis({ host: "127.0.0.1", port: Number(process.env.REDIS_PORT) })],
}).listen();

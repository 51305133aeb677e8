// One client's view of the echo listener, as JSON: `node client.mjs ws|global PORT`.
const [kind, port] = process.argv.slice(2);
const Socket = kind === "ws" ? (await import("ws")).WebSocket : globalThis.WebSocket;

function open(path, protocols = []) {
  const socket = new Socket(`ws://127.0.0.1:${port}${path}`, protocols);
  socket.binaryType = "arraybuffer";
  const messages = [];
  const waiting = [];
  socket.addEventListener("message", ({ data }) => {
    const next = waiting.shift();
    if (next) next(data);
    else messages.push(data);
  });
  const opened = new Promise((resolve, reject) => {
    socket.addEventListener("open", resolve);
    socket.addEventListener("error", reject);
  });
  const closed = new Promise((resolve) => {
    socket.addEventListener("close", ({ code, reason, wasClean }) => resolve({ code, reason, wasClean }));
  });
  const message = () => (messages.length ? messages.shift() : new Promise((resolve) => waiting.push(resolve)));
  return { socket, opened, closed, message };
}

const result = {};

const echo = open("/write");
await echo.opened;
result.extensions = echo.socket.extensions;
result.sizes = [];
for (const size of [0, 1, 125, 126, 65535, 65536, 100000]) {
  const sent = new Uint8Array(size).map((_, index) => index * 7);
  echo.socket.send(sent);
  const got = new Uint8Array(await echo.message());
  result.sizes.push(got.length === size && got.every((value, index) => value === sent[index]));
}
echo.socket.send("é 🎈");
result.text = new TextDecoder().decode(await echo.message());
for (let n = 0; n < 100; n++) echo.socket.send(new Uint8Array([n]));
result.order = true;
for (let n = 0; n < 100; n++) result.order &&= new Uint8Array(await echo.message())[0] === n;
echo.socket.close(3001, "bye é");
result.closedByClient = await echo.closed;

const goodbye = open("/goodbye");
result.closedByServer = await goodbye.closed;

const chosen = open("/last-subprotocol", ["one", "two"]);
await chosen.opened;
result.protocol = chosen.socket.protocol;
chosen.socket.close();
result.closedWithoutCode = await chosen.closed;

const large = open("/write");
await large.opened;
large.socket.send(new Uint8Array(100001));
result.tooLarge = (await large.closed).code;

const refused = open("/refuse/401");
result.refused = await refused.opened.then(() => "opened", () => "error");
// Node 20's own WebSocket reports the error, but no close after it.
if (kind === "ws") result.refusedCode = (await refused.closed).code;

console.log(JSON.stringify(result));

// An echo server of Node's `ws`. Says its port; when stdin ends, what its connections came to, as JSON.
//
// Arguments: `echo`; `refuse` (429 instead of an upgrade); `small` (messages of 16 bytes at most); `wrong` (another
// answer than the echo); `full` (a Close with a reason instead of an echo).
'use strict';
const http = require('node:http');
const { WebSocketServer } = require('ws');

const how = process.argv[2];
const closes = {};
let pongs = 0;
let extensions = 0;
const subprotocols = new Set();

const server = http.createServer();
const wss = new WebSocketServer({
  server,
  perMessageDeflate: true,
  maxPayload: how === 'small' ? 16 : undefined,
  verifyClient: (info, answer) => (how === 'refuse' ? answer(false, 429) : answer(true)),
});
wss.on('connection', (ws) => {
  if (ws.extensions) extensions += 1;
  if (ws.protocol) subprotocols.add(ws.protocol);
  ws.on('pong', () => { pongs += 1; });
  ws.on('error', () => {});
  ws.on('close', (code) => { closes[code] = (closes[code] ?? 0) + 1; });
  ws.on('message', (data, isBinary) => {
    if (how === 'wrong') ws.send('something else');
    else if (how === 'full') ws.close(1013, 'this room is full');
    else if (data.length > 32) {
      // In fragments, with a Ping within.
      ws.send(data.subarray(0, 20), { binary: isBinary, fin: false });
      ws.ping('within');
      ws.send(data.subarray(20), { binary: isBinary, fin: true });
    } else ws.send(data, { binary: isBinary });
  });
});
server.listen({ port: 0, host: '127.0.0.1', backlog: 4096 }, () => console.log(server.address().port));
process.stdin.on('end', () => setTimeout(() => {
  console.log(JSON.stringify({ closes, pongs, extensions, subprotocols: [...subprotocols] }));
  process.exit(0);
}, 500));
process.stdin.resume();

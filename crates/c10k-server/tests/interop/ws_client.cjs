// Node's `ws` against the server at the URL in the first argument. Says `ok` at its end.
'use strict';
const assert = require('node:assert');
const { once } = require('node:events');
const WebSocket = require('ws');

const url = process.argv[2];

async function open(...options) {
  const ws = new WebSocket(url, ...options);
  await once(ws, 'open');
  return ws;
}

async function echo(ws, data, options) {
  const answer = once(ws, 'message');
  ws.send(data, options ?? {});
  return answer;
}

async function messages() {
  // Compression is offered, as this client always does, and must not be taken.
  const ws = await open({ perMessageDeflate: true });
  assert.strictEqual(ws.extensions, '');
  for (const text of ['', 'Grüße 🌍', 'x'.repeat(126), 'z'.repeat(65536), 'w'.repeat(1 << 20)]) {
    const [data, isBinary] = await echo(ws, text);
    assert.ok(!isBinary && data.toString() === text, `${text.length}`);
  }
  for (const bytes of [Buffer.alloc(0), Buffer.alloc(70000, 0xff)]) {
    const [data, isBinary] = await echo(ws, bytes);
    assert.ok(isBinary && bytes.equals(data), `${bytes.length}`);
  }
  const whole = once(ws, 'message');
  ws.send('frag', { fin: false });
  ws.send('', { fin: false });
  ws.send('mented', { fin: true });
  assert.strictEqual((await whole)[0].toString(), 'fragmented');
  const pong = once(ws, 'pong');
  ws.ping('are you there');
  assert.strictEqual((await pong)[0].toString(), 'are you there');
  const closed = once(ws, 'close');
  ws.close(4001, 'that was all');
  assert.strictEqual((await closed)[0], 4001);
}

async function tooBig() {
  const ws = await open({ perMessageDeflate: false });
  const closed = once(ws, 'close');
  ws.on('error', () => {});
  ws.send(Buffer.alloc((1 << 20) + 1));
  assert.strictEqual((await closed)[0], 1009);
}

async function subprotocol() {
  const ws = await open(['unknown', 'chat']);
  assert.strictEqual(ws.protocol, 'chat');
  const closed = once(ws, 'close');
  ws.close();
  assert.strictEqual((await closed)[0], 1005);
}

async function oneOfMany(number) {
  const ws = await open();
  const [data] = await echo(ws, `${number}`);
  assert.strictEqual(data.toString(), `${number}`);
  const closed = once(ws, 'close');
  ws.close(1000);
  await closed;
}

async function main() {
  await messages();
  await tooBig();
  await subprotocol();
  await Promise.all(Array.from({ length: 100 }, (_, number) => oneOfMany(number)));
}

setTimeout(() => { throw new Error('it took too long'); }, 60000).unref();
main().then(() => console.log('ok'));

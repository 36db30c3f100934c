/**
 * A stream from one process to another over loopback, with CRC-32 computed at both ends:
 *
 *   node bench/channel.js CONTESTANT BYTES SENDER_CPU RECEIVER_CPU
 *
 * `channel-tcp`, `channel-tls` go through a Ferry channel in messages of 1 MiB; `channel-tcp-4` over four connections;
 * `plain-tcp` copies the same bytes in the same pieces through the same sockets, served by the addon, and
 * `plain-tcp-whole` keeps what it receives until a piece is whole, as whoever verifies it first has to; `net-tcp` and
 * `plain-tls` do so through node:net and node:tls. Prints one line of JSON: GB/s, the
 * seconds of processor time of either process for a GiB, and the most memory of either.
 */
import { fork } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect as connectTls, createServer as createTlsServer } from 'node:tls';
import { fileURLToPath } from 'node:url';
import { connectChannel, listenForChannels, makeTestCertificates } from '../dist/channel/index.js';
import { CONTROL_LENGTH, loadNative } from '../dist/native/index.js';
import { EventLoopReactor } from '../dist/transport/index.js';

const PIECE = 1024 * 1024;
const SOURCE = 64 * PIECE;
const about = { group: `${'0'.repeat(31)}1`, epoch: 1n, compression: 'off' };
const native = loadNative();

const once = (emitter, event) => new Promise((resolve) => emitter.once(event, resolve));

/** Bytes that a device's memory could have: more than the caches hold. */
function makeSource() {
  const source = new Uint8Array(SOURCE);
  for (let i = 0; i < SOURCE; i++) source[i] = (i * 2654435761) >>> 11;
  return source;
}

function readIdentity(folder, name) {
  const at = (file) => readFileSync(join(folder, file));
  return { ca: at('ca.pem'), cert: at(`${name}.pem`), key: at(`${name}.key`) };
}

const tlsOptions = (folder, name) => ({
  ...readIdentity(folder, name),
  minVersion: 'TLSv1.3',
  requestCert: true,
  rejectUnauthorized: true,
});

/** Listens on loopback; the port. */
async function portOf(server) {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return server.address().port;
}

/** A connected socket that the addon serves, as the channel's own are; the rest of `socket` is given up. */
function adopt(socket) {
  socket.setNoDelay(true);
  const fd = native.dup(socket._handle.fd);
  socket.destroy();
  return fd;
}

/** Each contestant: how the receiver listens and counts, and how the sender sends a piece (a promise: wait). */
const contestants = {
  'plain-tcp': plainTcp(false),
  'plain-tcp-whole': plainTcp(true),
  'net-tcp': {
    async listen(count) {
      return portOf(createServer((socket) => socket.on('data', (chunk) => count(chunk, true))));
    },
    async open(port) {
      const socket = connect(port, '127.0.0.1');
      await once(socket, 'connect');
      return streamWriter(socket);
    },
  },
  'plain-tls': {
    async listen(count, folder) {
      const server = createTlsServer(tlsOptions(folder, '127.0.0.1'), (socket) => {
        socket.on('data', (chunk) => count(chunk, true));
      });
      return portOf(server);
    },
    async open(port, folder) {
      const socket = connectTls({ port, host: '127.0.0.1', ...tlsOptions(folder, 'sender') });
      await once(socket, 'secureConnect');
      return streamWriter(socket);
    },
  },
  'channel-tcp': channel('tcp', 1),
  'channel-tcp-4': channel('tcp', 4),
  'channel-tls': channel('tls', 1),
};

/** Sockets that the addon serves; `whole`: what is received is kept until it is a piece. */
function plainTcp(whole) {
  return {
    async listen(count) {
      const server = createServer({ pauseOnConnect: true }, (socket) => {
        const rx = new Uint8Array(PIECE);
        let at = 0;
        const fd = adopt(socket);
        const buffers = {
          rx,
          tx: new Uint8Array(0),
          fds: new Int32Array(2),
          control: new Int32Array(CONTROL_LENGTH),
        };
        const port = new EventLoopReactor(native).open(fd, buffers, {
          received(length) {
            if (length <= 0) return;
            count(rx.subarray(at, at + length), true);
            at = whole ? (at + length) % PIECE : 0;
            port.expect(at, Math.min(256 * 1024, PIECE - at));
          },
          writable() {},
        });
        port.expect(0, 256 * 1024);
      });
      return portOf(server);
    },
    async open(port) {
      const socket = connect(port, '127.0.0.1');
      await once(socket, 'connect');
      const fd = adopt(socket);
      let go = () => {};
      const control = new Int32Array(CONTROL_LENGTH);
      const buffers = { rx: new Uint8Array(16), tx: new Uint8Array(0), fds: new Int32Array(2), control };
      const served = new EventLoopReactor(native).open(fd, buffers, { received() {}, writable: () => go() });
      return async (piece) => {
        native.crc32(piece, 0);
        for (let at = 0; at < piece.length; ) {
          const taken = native.send(fd, piece, at, piece.length - at, null, 0, 0, null);
          if (taken > 0) at += taken;
          if (at === piece.length) break;
          await new Promise((resolve) => {
            go = resolve;
            served.awaitWritable(true);
          });
          served.awaitWritable(false);
        }
      };
    },
  };
}

function streamWriter(socket) {
  return (piece) => {
    native.crc32(piece, 0);
    return socket.write(piece) ? null : once(socket, 'drain');
  };
}

function channel(carrier, connections) {
  const tls = (folder, name) => (carrier === 'tls' ? { tls: readIdentity(folder, name) } : {});
  return {
    async listen(count, folder) {
      const accepted = (one) => one.receive((_, body) => count(body, false));
      const options = { ...about, ...tls(folder, '127.0.0.1'), role: 'receiver', accepted };
      const listener = await listenForChannels({ carrier, host: '127.0.0.1', port: 0 }, options);
      return listener.endpoint.port;
    },
    async open(port, folder) {
      const options = { ...about, ...tls(folder, 'sender'), role: 'sender', connections };
      const one = await connectChannel({ carrier, host: '127.0.0.1', port }, options);
      const message = { kind: 'DATA', device: 0 };
      return (piece) => one.send(message, piece);
    },
  };
}

/** Receives until so many bytes have come, tells the sender, and goes when it is told to. */
async function receive(name, bytes, folder) {
  let got = 0;
  let crc = 0;
  const count = (chunk, check) => {
    got += chunk.length;
    if (check) crc = native.crc32(chunk, crc);
    if (got === bytes) process.send({ done: true, used: process.resourceUsage() });
  };
  process.once('disconnect', () => process.exit());
  const port = await contestants[name].listen(count, folder);
  process.send({ port, used: process.resourceUsage() });
}

/** Processor time, user and system, between two looks at a process. */
function cpuSecondsPerGiB(from, to, bytes) {
  const us = to.userCPUTime + to.systemCPUTime - from.userCPUTime - from.systemCPUTime;
  return us / 1e6 / (bytes / 1024 ** 3);
}

async function send(name, bytes, cpu) {
  const folder = mkdtempSync(join(tmpdir(), 'ferry-bench-'));
  await makeTestCertificates(folder, ['127.0.0.1', 'sender']);
  const options = { execPath: 'taskset', execArgv: ['-c', cpu, process.execPath] };
  const child = fork(fileURLToPath(import.meta.url), ['receive', name, bytes, folder], options);
  const { port, used: ready } = await once(child, 'message');
  const write = await contestants[name].open(port, folder);
  rmSync(folder, { recursive: true });
  const source = makeSource();
  const done = once(child, 'message');
  const before = process.resourceUsage();
  const start = performance.now();
  for (let sent = 0, at = 0; sent < bytes; sent += PIECE, at = (at + PIECE) % SOURCE) {
    const room = write(source.subarray(at, at + PIECE));
    if (room !== null) await room;
  }
  const { used } = await done;
  const gbps = bytes / (performance.now() - start) / 1e6;
  const own = process.resourceUsage();
  const senderCpu = cpuSecondsPerGiB(before, own, bytes);
  const receiverCpu = cpuSecondsPerGiB(ready, used, bytes);
  const peakMiB = Math.round(Math.max(used.maxRSS, own.maxRSS) / 1024);
  console.log(JSON.stringify({ gbps, senderCpu, receiverCpu, peakMiB }));
  process.exit();
}

const [name, ...rest] = process.argv.slice(2);
if (name === 'receive') await receive(rest[0], Number(rest[1]), rest[2]);
else await send(name, Math.ceil(Number(rest[0]) / PIECE) * PIECE, rest[2]);

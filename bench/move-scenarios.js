/** What is measured of state on its way: the channel between the two sides, and whole migrations. */

const MiB = 1024 ** 2;
const GiB = 1024 ** 3;
/** Each side on a CPU of its own. */
const SPLIT = [1, 0];

/** So many bytes in words that are true of a shortened run as well. */
function amount(bytes) {
  return bytes >= GiB ? `${bytes / GiB} GiB` : `${bytes / MiB} MiB`;
}

const seconds = (value) => `${value.toFixed(2)} s`;

/** The processor time of both processes: wall-clock says little of a machine that does something else besides. */
function channelTime({ senderCpu, receiverCpu }) {
  return `processor time for a GiB: sender ${seconds(senderCpu)}, receiver ${seconds(receiverCpu)}`;
}

function migrationCost({ totalMs, downtimeMs, senderMiB, receiverMiB, senderCpu, receiverCpu, iterations }) {
  const time = `total ${seconds(totalMs / 1000)}, downtime ${downtimeMs.toFixed(0)} ms, ${iterations} rounds`;
  const sender = `sender ${senderMiB} MiB, ${seconds(senderCpu)} of processor`;
  return `${time}; ${sender}; receiver ${receiverMiB} MiB, ${seconds(receiverCpu)}`;
}

/** The channel between two processes against the same bytes, with the same checksum, through the same sockets. */
function channels(name, aims, contestants, [where, cpus]) {
  return {
    name: `${name}, messages of 1 MiB and crc32, ${where}`,
    unit: 'GB/s',
    cpus,
    higherIsBetter: true,
    contestants: Object.entries(contestants).map(([label, kind]) => ({
      name: label,
      program: 'channel',
      load: (n) => [kind, n(4 * GiB), ...cpus.toReversed()],
      field: 'gbps',
      detail: channelTime,
    })),
    aims,
  };
}

const tcpContestants = {
  'plain copy and crc32': 'plain-tcp',
  'plain copy of whole pieces': 'plain-tcp-whole',
  'plain copy by node:net': 'net-tcp',
  channel: 'channel-tcp',
  'channel, 4 connections': 'channel-tcp-4',
};
const tlsContestants = { 'plain node:tls and crc32': 'plain-tls', channel: 'channel-tls' };

/** Whole migrations by the command line; a load is how, what kind of device, bytes of each, and how many. */
function migrations(name, unit, field, loads, aims = {}) {
  const contestants = Object.entries(loads).map(([label, load]) => ({
    name: label,
    program: 'migration',
    load: () => [...load, 1, 0],
    field,
    detail: migrationCost,
  }));
  return { name, unit, cpus: SPLIT, contestants, aims };
}

/** @param {(amount: number) => number} scale */
function whole(scale) {
  const each = scale(64 * MiB);
  const [large, largest] = [scale(GiB), scale(4 * GiB)];
  const groups = Object.fromEntries(
    [1, 4, 16].map((count) => [
      `${count} ${count === 1 ? 'device' : 'devices'}`,
      ['pre-copy', 'filled', each, count],
    ]),
  );
  const sizes = Object.fromEntries(
    [16 * MiB, 256 * MiB, largest].map((bytes) => [
      `${amount(bytes)} of state`,
      ['stop-copy', 'stream', bytes, 1],
    ]),
  );
  const rewritten = Object.fromEntries(
    ['stop-copy', 'pre-copy'].map((how) => [
      how === 'stop-copy' ? 'stop-and-copy alone' : how,
      [how, 'rewriting', large, 1],
    ]),
  );
  const downtime = `migration, downtime for ${amount(large)} of which 2% is rewritten per second`;
  const group = `migration of a group, ${amount(each)} each`;
  return [
    migrations(downtime, 'ms', 'downtimeMs', rewritten, { 'pre-copy': 0.3 }),
    migrations(`${group}, total time`, 'ms', 'totalMs', groups),
    migrations(`${group}, memory of either side`, 'MiB', 'peakMiB', groups),
    migrations('migration by size of the state, memory of either side', 'MiB', 'peakMiB', sizes),
  ];
}

/**
 * @param {readonly (readonly [string, readonly number[]])[]} places names, and the CPUs of receiver and sender
 * @param {(amount: number) => number} scale shortens it
 */
export function moves(places, scale) {
  return [
    ...places.map((place) => channels('channel over TCP', { channel: 0.8 }, tcpContestants, place)),
    ...places.map((place) => channels('channel over TLS', { channel: 0.9 }, tlsContestants, place)),
    ...whole(scale),
  ];
}

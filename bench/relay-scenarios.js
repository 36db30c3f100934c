/** What is measured of processes that stand between a client and its server: `ferry trace`, `ferry proxy`. */

const RAW = { server: 'raw', mode: 'loop' };

/** What stands between: nothing, the plainest relay there is, and ours. */
const THROUGH = {
  trace: {
    'direct connection': {},
    'through a plain C relay': { through: 'c' },
    'through ferry trace -w': { through: ['trace', '-w', '/dev/null'] },
    'through ferry trace': { through: ['trace'] },
  },
  proxy: {
    'direct connection': {},
    'through a plain C relay': { through: 'c' },
    'through ferry proxy': { through: ['proxy'] },
  },
};

const LOADS = [
  {
    name: '4-byte register read',
    unit: 'us',
    load: (n) => ['--read4', n(20_000)],
    field: 'p50',
  },
  {
    name: 'pipelined reads, 64 a send',
    unit: 'ns/message',
    load: (n) => ['--pipeline', 64, '--count', n(100_000)],
    field: 'nsPerMessage',
  },
];

/** What they add to the latency and to the throughput of messages. */
export function relayed([where, cpus]) {
  return Object.entries(THROUGH).flatMap(([command, relays]) =>
    LOADS.map(({ name, unit, load, field }) => ({
      name: `${command}: ${name}, ${where}`,
      unit,
      cpus,
      contestants: Object.entries(relays).map(([label, relay]) => ({
        ...{ name: label, ...RAW, ...relay },
        ...{ load, field },
      })),
      aims: {},
    })),
  );
}

/** What became of a pause: medians of one round. Steps before `drain` are while the client goes on. */
function spentOf({ heldMs, steps, totalMs, stateBytes, longestMs }) {
  const names = Object.keys(steps);
  const spent = (of) => of.map((name) => `${name} ${steps[name].toFixed(2)}`).join(', ');
  const pause = names.indexOf('drain');
  const spread = `${heldMs.min.toFixed(2)} to ${heldMs.max.toFixed(2)}`;
  return (
    `pauses of ${spread}: ${spent(names.slice(pause))}; before: ${spent(names.slice(0, pause))}; ` +
    `${totalMs.toFixed(0)} in all for ${stateBytes} bytes of state; the client's longest operation ${longestMs.toFixed(1)}`
  );
}

/** Back ends that are exchanged under load; see proxy.js. */
export const swaps = {
  name: 'proxy: pause of a client whose back end is swapped',
  unit: 'ms',
  cpus: [1, 0],
  contestants: [
    ['edu, two back ends in turn', 'edu', 'known'],
    ['edu, each a new process', 'edu', 'new'],
    ['nvme --ram 8M, two in turn', 'nvme', 'known', '--ram', '8M'],
    ['nvme --ram 8M, each new', 'nvme', 'new', '--ram', '8M'],
    ['nvme --ram 64M, two in turn', 'nvme', 'known', '--ram', '64M'],
  ].map(([name, device, age, ...options]) => ({
    name,
    program: 'proxy',
    load: (n) => [device, age, n(16), ...options],
    field: ({ heldMs }) => heldMs.median,
    detail: spentOf,
  })),
  aims: {},
};

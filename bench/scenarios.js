/**
 * What is measured. A scenario names its contestants, how each is started and loaded, and the aim. The first contestant
 * is the reference. `cpus` are [server, client]; a contestant without a server is a program that prints its figure, and
 * `field` is which of a program's figures counts, or what is made of them.
 */

import { statSync } from 'node:fs';
import { moves } from './move-scenarios.js';
import { relayed, swaps } from './relay-scenarios.js';

const SAME = [0, 0];
const SPLIT = [1, 0];
const PLACES = [
  ['one core', SAME],
  ['two cores', SPLIT],
];
const GiB = 1024 ** 3;
const MiB = 1024 ** 2;

const c = { server: 'minimal' };
const loop = { server: 'raw', mode: 'loop' };
const busy = { server: 'raw', mode: 'busy' };
const dedicated = { server: 'raw', mode: 'dedicated' };

/** Contestants of one kind of load on all servers. */
function against(load, field, servers) {
  return Object.entries(servers).map(([name, server]) => ({ name, ...server, load, field }));
}

const all = { 'minimal C server': c, 'event loop': loop, dedicated };
const peer = (command) => (command === undefined ? {} : { 'peer server': { server: 'peer' } });

function latency(where, cpus, aims, peerCommand) {
  return {
    name: `4-byte register read, ${where}`,
    unit: 'us',
    cpus,
    contestants: against((n) => ['--read4', n(40_000)], 'p50', { ...all, ...peer(peerCommand) }),
    aims,
  };
}

/**
 * Data of a migration against the same bytes copied through a socket. Where there are checksums, both ends of either
 * compute them.
 */
function stream({ name, kind, state, verb, bytes, checksum = false }, [where, cpus]) {
  const crc = checksum ? ['--crc32'] : [];
  const file = checksum && verb === '--mig-write';
  const [sender, receiver] = verb === '--mig-read' ? cpus : cpus.toReversed();
  return {
    name: `${name}, 1 MiB a message, ${where}`,
    unit: 'GB/s',
    cpus,
    higherIsBetter: true,
    contestants: [
      {
        name: checksum ? 'plain copy and crc32' : 'plain copy',
        program: 'copy',
        load: (n) => [n(bytes), '--request', ...crc, '--cpu-a', sender, '--cpu-b', receiver],
        field: 'gbps',
      },
      {
        name: 'event loop',
        server: kind,
        mode: 'loop',
        control: true,
        prepare: file ? (data) => ['--mig-read', GiB, MiB, '--state', 'precopy', '--data', data] : null,
        load: (n, data) => [
          verb,
          file ? statSync(data).size : n(bytes),
          MiB,
          '--state',
          state,
          ...crc,
          ...(file ? ['--data', data] : []),
        ],
        field: 'gbps',
      },
    ],
    aims: checksum ? {} : { 'event loop': 0.8 },
  };
}

const streams = [
  { name: 'raw MIG_DATA_READ', kind: 'raw', state: 'stopcopy', verb: '--mig-read', bytes: 2 * GiB },
  { name: 'raw MIG_DATA_WRITE', kind: 'raw', state: 'resuming', verb: '--mig-write', bytes: 2 * GiB },
  {
    name: 'MIG_DATA_READ of declared state',
    kind: 'checked',
    state: 'stopcopy',
    verb: '--mig-read',
    bytes: GiB,
    checksum: true,
  },
  {
    name: 'MIG_DATA_WRITE of declared state',
    kind: 'checked',
    state: 'resuming',
    verb: '--mig-write',
    bytes: GiB,
    checksum: true,
  },
];

/** What became of a pause: medians of one round. */
function spentOf({ saveMs, passMs, loadMs, runMs, cpuMs, totalMs, longestOperation }) {
  const figures = { save: saveMs, pass: passMs, load: loadMs, run: runMs, CPU: cpuMs };
  const spent = Object.entries(figures).map(([name, { median }]) => `${name} ${median.toFixed(2)}`);
  const spread = `${totalMs.min.toFixed(2)} to ${totalMs.max.toFixed(2)}`;
  return `${spent.join(', ')}; pauses of ${spread}; the client's longest operation ${(longestOperation / 1000).toFixed(2)}`;
}

/** A device from process to process, each of them new, under a client that never pauses. */
const handover = {
  name: 'handover: pause of a device that a new process takes over',
  unit: 'ms',
  cpus: SPLIT,
  contestants: [
    ['edu, 1 MiB of guest memory', 'edu'],
    ['edu, 3 GiB of guest memory', 'edu', 'memory=3G'],
    ['serial', 'serial'],
    ['nvme --ram 32M', 'nvme'],
  ].map(([name, device, ...options]) => ({
    name,
    program: 'handover',
    load: (n) => [device, n(12), ...options],
    field: ({ totalMs }) => totalMs.median,
    detail: spentOf,
  })),
  aims: {},
};

const EDU_DMA = ['--irq', 1, '--guest', MiB, '--put', '0x90:8:4096', '--offset', '0x98'];
const toDevice = [...EDU_DMA, '--put', '0x80:8:0', '--put', '0x88:8:0x40000', '--value', 5];
const toGuest = [...EDU_DMA, '--put', '0x80:8:0x40000', '--put', '0x88:8:0', '--value', 7];

/** VS of the controller: a register that costs nothing to answer. */
const NVME_VERSION = ['--offset', 8];

/** An NVMe controller with its namespace in memory, which a driver in C uses through mapped memory. */
function nvme(mode) {
  const served = { server: 'nvme', mode };
  const driver = (name, verb, depth, count, field) => ({
    ...served,
    name: `${mode === 'loop' ? '' : `${mode}: `}${name}`,
    client: 'nvme',
    load: (n) => [verb, n(count), '--depth', depth],
    field,
  });
  return { served, driver };
}

function nvmeRate([where, cpus]) {
  const perSecond = ({ iops }) => iops / 1000;
  const modes = ['loop', 'dedicated'].map((mode) => nvme(mode).driver);
  return {
    name: `nvme --ram, random 4 KiB, ${where}`,
    unit: 'thousand a second',
    cpus,
    higherIsBetter: true,
    contestants: [
      {
        ...nvme('loop').served,
        name: 'register round trips',
        load: (n) => ['--read4', n(40_000), ...NVME_VERSION],
        field: ({ mean }) => 1000 / mean,
      },
      ...modes.flatMap((driver) => [
        driver('reads, depth 1', '--read', 1, 40_000, perSecond),
        driver('writes, depth 1', '--write', 1, 40_000, perSecond),
        driver('reads, depth 32', '--read', 32, 400_000, perSecond),
        driver('writes, depth 32', '--write', 32, 400_000, perSecond),
      ]),
    ],
    aims: {},
  };
}

function nvmeLatency([where, cpus]) {
  const modes = ['loop', 'dedicated'].map((mode) => nvme(mode).driver);
  return {
    name: `nvme --ram, doorbell to interrupt, ${where}`,
    unit: 'us',
    cpus,
    contestants: [
      {
        ...nvme('loop').served,
        name: 'register round trip',
        load: (n) => ['--read4', n(40_000), ...NVME_VERSION],
        field: 'p50',
      },
      ...modes.flatMap((driver) => [
        driver('flush', '--flush', 1, 20_000, 'p50'),
        driver('read of 4 KiB', '--read', 1, 20_000, 'p50'),
        driver('write of 4 KiB', '--write', 1, 20_000, 'p50'),
      ]),
    ],
    aims: {},
  };
}

/**
 * @param {string | undefined} peerCommand FERRY_PEER_SERVER
 * @param {(amount: number) => number} scale
 */
export function scenarios(peerCommand, scale) {
  const edu = { server: 'edu', mode: 'loop' };
  const dma = (name, put) => ({
    ...edu,
    name,
    load: (n) => ['--doorbell-irq', n(5_000), ...put],
    field: 'p50',
  });
  return [
    latency('one core', SAME, { 'event loop': 1.25, dedicated: 1.1 }, peerCommand),
    latency('two cores', SPLIT, {}, peerCommand),
    {
      name: '4-byte register read, two cores, both sides polling',
      unit: 'us',
      cpus: SPLIT,
      contestants: [
        { name: 'minimal C server, blocking', ...c, load: (n) => ['--read4', n(40_000)], field: 'p50' },
        {
          name: 'minimal C server, polling',
          server: 'minimal-poll',
          load: (n) => ['--read4', n(40_000), '--spin'],
          field: 'p50',
        },
        { name: 'busy event loop', ...busy, load: (n) => ['--read4', n(40_000), '--spin'], field: 'p50' },
      ],
      aims: { 'busy event loop': 0.25 },
    },
    ...PLACES.map(([where, cpus]) => ({
      name: `pipelined reads, 64 a send, ${where}`,
      unit: 'ns/message',
      cpus,
      contestants: against((n) => ['--pipeline', 64, '--count', n(400_000)], 'nsPerMessage', all),
      aims: {},
    })),
    ...streams.flatMap((each) => PLACES.map((place) => stream(each, place))),
    ...moves(PLACES, scale),
    handover,
    ...PLACES.map(([where, cpus]) => ({
      name: `doorbell to interrupt, ${where}`,
      unit: 'us',
      cpus,
      contestants: against((n) => ['--doorbell-irq', n(20_000), '--offset', 4], 'p50', all),
      aims: {},
    })),
    {
      name: 'doorbell, 4 KiB of DMA, interrupt, one core',
      unit: 'us',
      cpus: SAME,
      contestants: [
        dma('guest to device, mapped', [...toDevice, '--guest-fd']),
        dma('device to guest, mapped', [...toGuest, '--guest-fd']),
        dma('guest to device, by message', toDevice),
        dma('device to guest, by message', toGuest),
      ],
      aims: {},
    },
    ...PLACES.map(nvmeRate),
    ...PLACES.map(nvmeLatency),
    ...PLACES.flatMap(relayed),
    swaps,
  ];
}

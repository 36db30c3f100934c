// What a C program once tried with two devices of the driver mtty (test/fixtures/kernel-mtty-transcript.txt), tried again
// through Ferry's client, line for line. It runs where the devices are: in a guest, or on a fake kernel.

/** linux/vfio.h. */
const GET_API_VERSION = 0x3b64;
const GET_PRECOPY_INFO = 0x3b79;
const [GET, SET, PROBE] = [0x1_0000, 0x2_0000, 0x4_0000];
const [MIGRATION, DATA_SIZE] = [1, 9];
const PRECOPY_INFO_V2 = 12;
const POLLIN = 1;

const STATES = [
  'ERROR',
  'STOP',
  'RUNNING',
  'STOP_COPY',
  'RESUMING',
  'RUNNING_P2P',
  'PRE_COPY',
  'PRE_COPY_P2P',
];
const STATE = Object.fromEntries(STATES.map((name, number) => [name, number]));
/** The errnos that occur, by number. */
const ERRNO = {
  9: 'EBADF',
  12: 'ENOMEM',
  14: 'EFAULT',
  19: 'ENODEV',
  22: 'EINVAL',
  25: 'ENOTTY',
  42: 'ENOMSG',
};
/** A UART: line control and scratch. */
const [LCR, SCRATCH] = [3, 7];

const word = (result) => (result < 0 ? (ERRNO[-result] ?? `errno ${-result}`) : '0');
const nameOf = (state) => STATES[state] ?? `(${state})`;

/**
 * @param {import('../../../src/kernel/index.ts').KernelDevice} a
 * @param {import('../../../src/kernel/index.ts').KernelDevice} b
 * @param {Pick<import('../../../src/native/index.ts').Native, 'dup' | 'close' | 'poll' | 'readLater' | 'writeLater'>} calls
 * @returns {Promise<string[]>}
 */
export async function transcript(a, b, calls) {
  const lines = [];
  const print = (line) => lines.push(line);
  // The C program had devices that were new.
  for (const device of [a, b]) for (const register of [LCR, SCRATCH]) await device.writeU8(0, register, 0);
  await facts(a, b, print);
  probes(a, print);
  await matrix(a, b, print);
  const stream = await save(a, b, calls, print);
  await load(a, b, stream, calls, print);
  await errors(a, b, calls, print);
  print('done');
  return lines;
}

async function facts(a, b, print) {
  print(`API ${a.container.file.ioctl(GET_API_VERSION)}`);
  for (const [i, device] of [a, b].entries()) {
    const { kernel } = await device.inspectServer();
    print(`group ${i} flags=0x${kernel.groupFlags.toString(16)}`);
  }
  const { pci, resettable, regionCount, irqCount } = await a.info();
  // The C program printed the field of the structure: 1 reset, 2 PCI.
  print(
    `info flags=0x${((resettable ? 1 : 0) | (pci ? 2 : 0)).toString(16)} regions=${regionCount} irqs=${irqCount}`,
  );
  for (let index = 0; index < regionCount; index += 1) {
    const { size, fileOffset, readable, writable, mappable } = await a.regionInfo(index);
    if (size === 0n) continue;
    const flags = (readable ? 1 : 0) | (writable ? 2 : 0) | (mappable ? 4 : 0);
    const offset = fileOffset === 0n ? '0' : `0x${fileOffset.toString(16)}`;
    print(` region ${index} size=0x${size.toString(16)} off=${offset} flags=0x${flags.toString(16)}`);
  }
}

function probes({ features }, print) {
  print('== feature probes');
  for (let feature = 0; feature < 15; feature += 1) {
    const [get, set, both] = [GET, SET, GET | SET].map((how) =>
      word(features.tryRaw(feature, PROBE | how, 8)),
    );
    print(` feature ${feature} PROBE|GET=${get} PROBE|SET=${set} PROBE|GET|SET=${both}`);
  }
}

async function matrix(a, b, print) {
  const { migration, features } = a;
  const flags = migration.flags().toString(16);
  print(`MIGRATION flags=0x${flags} r=${word(features.tryRaw(MIGRATION, GET, 16))}`);
  const wrong = [
    ['GET with argsz=8', GET, 8],
    ['GET with argsz=4', GET, 4],
    ['GET|SET', GET | SET, 16],
    ['SET', SET, 16],
    ['GET + unknown bit19', GET | 0x8_0000, 16],
    ['no op bits', 0, 16],
    ['PROBE only', PROBE, 16],
  ];
  for (const [name, flags, argsz] of wrong) {
    print(`MIGRATION ${name}: ${word(features.tryRaw(MIGRATION, flags, argsz))}`);
  }
  const size = await migration.dataSize();
  print(`MIG_DATA_SIZE=${size} r=${word(features.tryRaw(DATA_SIZE, GET, 16))}`);
  print(`initial state A=${nameOf(await migration.state())} B=${nameOf(await b.migration.state())}`);
  print('== transition matrix (A) cur -> req : errno, resulting state, data_fd?');
  for (const from of STATES.slice(1)) {
    for (let to = 0; to <= STATES.length; to += 1) {
      if ((await migration.state()) !== STATE[from]) {
        await a.reset();
        await migration.setState(STATE[from]);
      }
      const before = migration.session;
      const result = await go(migration, to);
      const fresh = migration.session !== null && migration.session !== before;
      const arrow = ` ${from.padEnd(12)} -> ${nameOf(to).padEnd(12)} : ${word(result).padEnd(7)}`;
      print(`${arrow} state=${nameOf(await migration.state())} fd=${fresh ? 'new' : '-1'}`);
    }
  }
  await a.reset();
}

/** The errno of a change, negated; 0 when it was made. Of a refusal the state is told, and must be right. */
async function go(migration, state) {
  try {
    await migration.setState(state);
    return 0;
  } catch (error) {
    if (error.reached !== (await migration.state())) throw error;
    return -error.errno;
  }
}

async function step(device, name, state, print) {
  const { migration } = device;
  const before = migration.session;
  const result = await go(migration, STATE[state]);
  const fresh = migration.session !== null && migration.session !== before;
  print(`${name}->${state} ${word(result)} fd=${fresh ? 'new' : '-1'}`);
}

/** MIG_GET_PRECOPY_INFO with rubbish in the field that is only answered. */
function precopyInfo({ migration }, argsz = 24) {
  const argument = new Uint8Array(24);
  const view = new DataView(argument.buffer);
  view.setUint32(0, argsz, true);
  view.setUint32(4, 0xdeadbeef, true);
  const result = migration.session.file.try(GET_PRECOPY_INFO, { argument });
  const [initial, dirty, flags] = [
    view.getBigUint64(8, true),
    view.getBigUint64(16, true),
    view.getUint32(4, true),
  ];
  return { result, initial, dirty, flags: flags === 0 ? '0' : `0x${flags.toString(16)}` };
}

async function save(a, b, calls, print) {
  const { migration, features } = a;
  await a.writeU8(0, SCRATCH, 0x5a);
  print(`== A scratch=0x${(await a.readU8(0, SCRATCH)).toString(16)} (wrote 0x5a)`);
  print(`B scratch before=${await b.readU8(0, SCRATCH)}`);
  await step(a, 'A', 'PRE_COPY', print);
  // The client has opted in to version 2, which the C program does next.
  const first = await migration.precopyInfo();
  print(`PRECOPY_INFO ${first === null ? 'none' : 0} init=${first.initialBytes} dirty=${first.dirtyBytes}`);
  print(`SET MIG_PRECOPY_INFOv2 (state PRE_COPY): ${word(features.tryRaw(PRECOPY_INFO_V2, SET, 8))}`);
  const info = precopyInfo(a);
  print(
    `PRECOPY_INFO (v2) ${word(info.result)} init=${info.initial} dirty=${info.dirty} flags=${info.flags}`,
  );
  print(`PRECOPY_INFO argsz=8: ${word(precopyInfo(a, 8).result)}`);
  const chunks = [];
  const drain = async () => {
    let total = 0;
    let last = 1;
    while (last > 0) {
      last = await migration.read(4096, (chunk) => chunks.push(Buffer.from(chunk)));
      total += last;
    }
    return { total, last };
  };
  const pre = await drain();
  print(`precopy read total=${pre.total} end: k=${pre.last} errno=-`);
  print(`poll in PRE_COPY after drain: ${poll(calls, migration.session.file.fd)}`);
  print(`PRECOPY_INFO after drain init=${precopyInfo(a).initial}`);
  await a.writeU8(0, SCRATCH, 0xa5);
  await a.writeU8(0, LCR, 0x1b);
  await step(a, 'A', 'PRE_COPY_P2P', print);
  await step(a, 'A', 'STOP_COPY', print);
  print(`PRECOPY_INFO in STOP_COPY: ${word(precopyInfo(a).result)}`);
  if ((await migration.precopyInfo()) !== null) throw new Error('there is no information in STOP_COPY');
  const stop = await drain();
  const stream = Buffer.concat(chunks);
  print(`stop_copy read=${stop.total} total=${stream.length} last k=${stop.last}`);
  print(`read again at EOS: ${await migration.read(4096, () => {})}`);
  print('stream head:');
  for (let at = 0; at < stream.length; at += 32) {
    print(`  ${at.toString(16).padStart(4, '0')} ${stream.subarray(at, at + 32).toString('hex')}`);
  }
  const old = calls.dup(migration.session.file.fd);
  await step(a, 'A', 'STOP', print);
  const late = await calls.readLater(old, new Uint8Array(16));
  print(`read on old fd after STOP: k=${late < 0 ? -1 : late} ${word(late)}`);
  calls.close(old);
  return stream;
}

async function load(a, b, stream, calls, print) {
  const { migration } = b;
  await step(b, '== B', 'RESUMING', print);
  const { fd } = migration.session.file;
  const read = await calls.readLater(fd, new Uint8Array(16));
  print(`read() on resuming fd: ${read < 0 ? -1 : read} ${word(read)}`);
  print(`poll resuming fd ${poll(calls, fd, POLLIN | 4)}`);
  await migration.write(stream);
  print(`wrote ${stream.length}`);
  const old = calls.dup(fd);
  const stopped = await go(migration, STATE['STOP']);
  const session = migration.session === null ? '-1' : 'new';
  print(`B->STOP ${word(stopped)} state=${nameOf(await migration.state())} fd=${session}`);
  print(`B->RUNNING ${word(await go(migration, STATE['RUNNING']))} state=${nameOf(await migration.state())}`);
  const scratch = (await b.readU8(0, SCRATCH)).toString(16);
  const control = (await b.readU8(0, LCR)).toString(16);
  print(`B scratch after=0x${scratch} (expect 0xa5) LCR=0x${control} (expect 0x1b)`);
  const late = await calls.writeLater(old, new Uint8Array(16));
  print(`write on old resuming fd: ${late < 0 ? -1 : late} ${word(late)}`);
  calls.close(old);
  print(`A back RUNNING (abort) ${word(await go(a.migration, STATE['RUNNING']))}`);
  print(`A scratch=0x${(await a.readU8(0, SCRATCH)).toString(16)}`);
}

async function errors(a, b, calls, print) {
  const { migration } = b;
  print('== errors');
  await migration.setState(STATE['RESUMING']);
  const short = await tryWrite(migration, new Uint8Array(20));
  print(`short write ${short < 0 ? word(short) : short}`);
  for (const state of ['STOP', 'RUNNING']) {
    const result = word(await go(migration, STATE[state]));
    print(`RESUMING->${state} incomplete: ${result} state=${nameOf(await migration.state())}`);
  }
  const old = calls.dup(migration.session.file.fd);
  await b.reset();
  print(`after RESET state=${nameOf(await migration.state())}`);
  const late = await calls.writeLater(old, new Uint8Array(16));
  print(`write on fd after reset: ${late < 0 ? -1 : late} ${word(late)}`);
  calls.close(old);
  for (const [name, bytes] of [
    ['garbage header', new Uint8Array(96).fill(0xee)],
    ['oversize', new Uint8Array(70_000)],
  ]) {
    await migration.setState(STATE['RESUMING']);
    const result = await tryWrite(migration, bytes);
    print(`${name} write: ${result < 0 ? -1 : result} ${word(result)}`);
    await b.reset();
  }
  await a.migration.setState(STATE['STOP_COPY']);
  a.migration.close();
  const result = word(await go(a.migration, STATE['STOP']));
  print(`closed fd early, STOP_COPY->STOP: ${result} state=${nameOf(await a.migration.state())}`);
  await a.reset();
}

async function tryWrite(migration, bytes) {
  try {
    await migration.write(bytes);
    return bytes.length;
  } catch (error) {
    return -error.errno;
  }
}

function poll(calls, fd, events = POLLIN) {
  const set = new Int32Array([fd, events, 0]);
  const ready = calls.poll(set, 1, 0);
  return `${ready} revents=0x${set[2].toString(16)}`;
}

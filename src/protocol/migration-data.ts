import { Command } from './commands.ts';
import { empty } from './empty.ts';
import { struct, u32, type ValueOfStruct } from './layout.ts';
import { message } from './message.ts';
import { payload } from './payload.ts';
import { argszAtLeast } from './rules.ts';
import { bytes } from './tails.ts';

/** The fixed part of MIG_DATA_READ and MIG_DATA_WRITE. */
export const MigrationData = struct('migration data', {
  argsz: u32('MIG_DATA_READ request: largest reply payload; otherwise bytes of the payload, data included'),
  size: u32('bytes of data: wanted, or there'),
});

/** The value of {@link MigrationData}. */
export type MigrationData = ValueOfStruct<typeof MigrationData>;

/** MIG_DATA_READ (vfio-user.rst, VFIO_USER_MIG_DATA_READ). */
export const migDataRead = message({
  command: Command.MIG_DATA_READ,
  doc: "Reads from the stream of the device's state in PRE_COPY and STOP_COPY. 0 bytes is the end, in PRE_COPY for now.",
  request: payload('MIG_DATA_READ request', {
    fixed: MigrationData,
    trailing: 'tolerated',
    rules: [
      {
        field: 'argsz',
        must: `be at least ${MigrationData.size} more than size`,
        source: 'libvfio-user: EINVAL',
        holds: ({ argsz, size }) => argsz >= MigrationData.size + size,
      },
    ],
  }),
  reply: payload('MIG_DATA_READ reply', {
    fixed: MigrationData,
    tail: bytes('data', 'the next bytes of the stream', { length: 'size' }),
    trailing: 'tolerated',
  }),
});

/** MIG_DATA_WRITE (vfio-user.rst, VFIO_USER_MIG_DATA_WRITE). */
export const migDataWrite = message({
  command: Command.MIG_DATA_WRITE,
  doc: "Writes to the stream of the device's state in RESUMING.",
  request: payload('MIG_DATA_WRITE request', {
    fixed: MigrationData,
    tail: bytes('data', 'the next bytes of the stream', { length: 'size' }),
    rules: [argszAtLeast(MigrationData.size, 'libvfio-user: EINVAL')],
  }),
  reply: empty('MIG_DATA_WRITE reply'),
});

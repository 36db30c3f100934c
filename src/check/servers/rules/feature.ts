import { Errno } from '../../../errors/index.ts';
import { Command, Feature, FeatureFlag, FeatureHead } from '../../../protocol/index.ts';
import { MigrationState } from '../../../states/index.ts';
import { specification, uapi } from '../../rule.ts';
import { demand, notApplicable } from '../../verdict.ts';
import { equal, fields, u32At, u64At } from '../../wire/bytes.ts';
import { failed, feature, getFeature, refused, worked } from '../ask.ts';
import { refuseEach, type ServerRule, serverRule } from '../server-rule.ts';

const FEATURE = specification('VFIO_USER_DEVICE_FEATURE');
const { GET, SET, PROBE } = FeatureFlag;
const KNOWN_FLAGS = [1n, 3n, 5n, 7n];
/** A number that no kernel gives a feature. */
const NO_FEATURE = 0x0fff;

/** Features of a device, and how they are asked for. */
export const featureRules: readonly ServerRule[] = [
  serverRule({
    ...{ id: 'feature.migration-flags', severity: 'must', needs: ['migration'] },
    clause: specification('VFIO_DEVICE_FEATURE_MIGRATION: at least VFIO_MIGRATION_STOP_COPY must be set'),
    title: 'MIGRATION tells flags with which the device can be moved',
    why: 'other combinations have no meaning; a VMM refuses to migrate the device',
    async check(world) {
      const data = await getFeature(await world.open(), Feature.MIGRATION);
      demand(data.length === 8, `the data have ${data.length} bytes`, '8');
      const flags = u64At(data, 0);
      demand(
        KNOWN_FLAGS.includes(flags),
        `the flags are 0x${flags.toString(16)}`,
        'STOP_COPY, with P2P and PRE_COPY or not',
      );
    },
  }),
  serverRule({
    ...{ id: 'feature.get-argsz', severity: 'must', needs: ['migration'] },
    clause: specification('VFIO_USER_DEVICE_FEATURE, reply: its length is added to argsz'),
    title: 'The argsz of a reply to GET tells its length, and the flags are those of the request',
    why: 'clients take as many bytes as they are told',
    async check(world) {
      const reply = worked(await feature(await world.open(), GET | Feature.MIGRATION));
      demand(
        u32At(reply, 0) === reply.length,
        `argsz is ${u32At(reply, 0)} of ${reply.length} bytes`,
        'the same',
      );
      const flags = u32At(reply, 4);
      demand(
        flags === (GET | Feature.MIGRATION),
        `the flags are 0x${flags.toString(16)}`,
        'those of the request',
      );
    },
  }),
  serverRule({
    ...{ id: 'feature.probe', severity: 'must', needs: ['migration'] },
    clause: specification('VFIO_DEVICE_FEATURE_PROBE: success if all of the indicated methods are supported'),
    title: 'A probe succeeds for the methods that a feature has, and for no others',
    why: 'a client decides by it what it can ask for, and whether it has to track dirty pages itself',
    async check(world) {
      const wire = await world.open();
      for (const bits of [Feature.MIGRATION, GET | Feature.MIGRATION, GET | SET | Feature.MIG_DEVICE_STATE]) {
        worked(await feature(wire, PROBE | bits), `PROBE 0x${bits.toString(16)}`);
      }
      for (const bits of [SET | Feature.MIGRATION, GET | SET | Feature.MIGRATION]) {
        refused(await feature(wire, PROBE | bits), `PROBE 0x${bits.toString(16)}, which has no SET,`);
      }
    },
  }),
  serverRule({
    ...{ id: 'feature.probe-echo', severity: 'must', needs: ['migration'] },
    clause: specification(
      'VFIO_USER_DEVICE_FEATURE, reply: must be the same as the request payload for setting or probing',
    ),
    title: 'The reply to a probe is the request again',
    why: 'a client that checks it takes the feature for missing',
    async check(world) {
      const wire = await world.open();
      const payload = fields(16, PROBE | GET | Feature.MIG_DEVICE_STATE);
      const reply = worked(await wire.request(Command.DEVICE_FEATURE, payload));
      demand(
        equal(reply, payload),
        `the reply is ${Buffer.from(reply).toString('hex')}`,
        'the payload of the request',
      );
    },
  }),
  serverRule({
    ...{ id: 'feature.set-echo', severity: 'must', needs: ['migration', 'spawn'] },
    clause: specification(
      'VFIO_USER_DEVICE_FEATURE, reply: must be the same as the request payload for setting or probing',
    ),
    title: 'The reply to a SET is the request again',
    why: 'a client that checks it takes the change for failed',
    async check(world) {
      const wire = await world.migrator(await world.open());
      const payload = fields(16, SET | Feature.MIG_DEVICE_STATE, MigrationState.RUNNING, 0xffff_ffff);
      const reply = worked(await wire.request(Command.DEVICE_FEATURE, payload));
      demand(
        equal(reply, payload),
        `the reply is ${Buffer.from(reply).toString('hex')}`,
        'the payload of the request',
      );
    },
  }),
  serverRule({
    ...{ id: 'feature.unknown', severity: 'must', clause: FEATURE },
    title: 'A feature that the device has not is refused, for each method',
    why: 'clients ask for what newer devices have, and go on without it',
    async check(world) {
      const wire = await world.open();
      for (const bits of [GET, SET, PROBE, PROBE | GET]) {
        refused(
          await feature(wire, bits | NO_FEATURE, fields(0n)),
          `feature 0xfff with 0x${bits.toString(16)}`,
        );
      }
    },
  }),
  serverRule({
    ...{ id: 'feature.unknown-errno', severity: 'interoperability' },
    clause: uapi('vfio_main.c, vfio_ioctl_device_feature: ENOTTY for a feature that the driver has not'),
    title: 'The errno for a feature that the device has not is ENOTTY',
    why: 'QEMU tells "not there" from "failed" by it: anything else is an error to be shown',
    async check(world) {
      refused(await feature(await world.open(), PROBE | NO_FEATURE), 'PROBE of feature 0xfff', [
        Errno.ENOTTY,
      ]);
    },
  }),
  serverRule({
    ...{ id: 'feature.methods', severity: 'must', needs: ['migration'] },
    clause: specification('VFIO_USER_DEVICE_FEATURE: GET and SET are mutually exclusive, except with PROBE'),
    title: 'GET together with SET, no method, and unknown bits are refused',
    why: 'client and server would disagree on what was asked',
    async check(world) {
      const wire = await world.open();
      const data = fields(0n);
      refused(
        await feature(wire, GET | SET | Feature.MIG_DEVICE_STATE, fields(2, 0)),
        'GET together with SET',
      );
      refused(await feature(wire, Feature.MIG_DEVICE_STATE, fields(2, 0)), 'no method');
      refused(await feature(wire, GET | 0x8_0000 | Feature.MIGRATION, data), 'the unknown bit 19');
      refused(await feature(wire, SET | Feature.MIGRATION, data), 'SET of MIGRATION');
    },
  }),
  serverRule({
    ...{ id: 'feature.malformed', severity: 'must', needs: ['migration'], clause: FEATURE },
    title: 'DEVICE_FEATURE that is cut off, or without room for its reply, is refused',
    why: 'what is read or written behind the end of the message is other memory',
    check: async (world) =>
      refuseEach(await world.open(), [
        ['DEVICE_FEATURE of 4 bytes', Command.DEVICE_FEATURE, fields(8)],
        ['DEVICE_FEATURE with argsz 7', Command.DEVICE_FEATURE, fields(7, GET | Feature.MIGRATION)],
        [
          'GET MIGRATION with room for half of it',
          Command.DEVICE_FEATURE,
          fields(12, GET | Feature.MIGRATION),
        ],
      ]),
  }),
  serverRule({
    ...{ id: 'feature.set-cut-off', severity: 'must', needs: ['migration', 'spawn'] },
    clause: specification('VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE: device_state and data_fd'),
    title: 'SET MIG_DEVICE_STATE without its data is refused',
    why: 'the server would take whatever is behind the message for a state (a read of other memory)',
    async check(world) {
      const wire = await world.open();
      const flags = SET | Feature.MIG_DEVICE_STATE;
      await refuseEach(wire, [
        ['SET MIG_DEVICE_STATE without data', Command.DEVICE_FEATURE, fields(16, flags)],
        [
          'SET MIG_DEVICE_STATE with half its data',
          Command.DEVICE_FEATURE,
          fields(16, flags, MigrationState.RUNNING),
        ],
      ]);
    },
  }),
  serverRule({
    ...{ id: 'feature.data-size', severity: 'interoperability', needs: ['migration'] },
    clause: uapi('linux/vfio.h, VFIO_DEVICE_FEATURE_MIG_DATA_SIZE'),
    title: 'MIG_DATA_SIZE, where there is one, has 8 bytes and works while the device runs',
    why: 'without an estimate nobody can say how long a guest will stand still',
    async check(world) {
      const wire = await world.open();
      const reply = await feature(wire, GET | Feature.MIG_DATA_SIZE);
      if (failed(reply)) notApplicable('the device has no MIG_DATA_SIZE');
      const { length } = reply.payload;
      demand(length === FeatureHead.size + 8, `the reply has ${length} bytes`, `${FeatureHead.size + 8}`);
    },
  }),
];

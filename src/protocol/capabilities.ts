import { boolean, integer, type MemberValues, object, powerOfTwo } from './json-field.ts';
import {
  DEFAULT_MAX_DATA_XFER_SIZE,
  DEFAULT_MAX_DMA_MAPS,
  DEFAULT_MAX_MSG_FDS,
  DEFAULT_PGSIZES,
  MAX_PROPOSED_MSG_FDS,
} from './limits.ts';

/** Every capability of the VERSION JSON that is understood; any other is ignored. */
export const capabilitiesObject = object('what the sender supports', {
  maxMsgFds: integer(
    `descriptors taken in one message; ${DEFAULT_MAX_MSG_FDS} if not named`,
    0,
    MAX_PROPOSED_MSG_FDS,
  ),
  maxDataXferSize: integer(
    `largest count of a data message that is taken, bytes; ${DEFAULT_MAX_DATA_XFER_SIZE} if not named`,
    1,
  ),
  maxDmaMaps: integer(`DMA windows valid at once; ${DEFAULT_MAX_DMA_MAPS} if not named`, 0),
  pgsizes: integer(`page sizes of DMA maps, or-ed together; ${DEFAULT_PGSIZES} if not named`, 1),
  twinSocket: object('a second socket for the commands of the server', {
    supported: boolean('the sender can use one; in a reply: it is in use'),
    fdIndex: integer('in a reply: which of its descriptors is the socket', 0, MAX_PROPOSED_MSG_FDS),
  }),
  writeMultiple: boolean('REGION_WRITE_MULTI is understood'),
  migration: object('dirty tracking; not in the text, sent by QEMU and libvfio-user', {
    pgsize: powerOfTwo('page size of dirty bitmaps, bytes', 1),
    maxBitmapSize: integer('largest dirty bitmap, bytes', 1),
  }),
  ferry: object("Ferry's private extensions; used only with a peer that named them", {
    precopyInfo: boolean('FERRY_PRECOPY_INFO is understood'),
    inspect: boolean('FERRY_INSPECT is understood'),
    claim: boolean('FERRY_CLAIM is understood'),
    reconnection: boolean('FERRY_RECONNECTION is understood'),
    switchover: boolean('FERRY_SWITCHOVER is understood'),
    handover: boolean('FERRY_HANDOVER is understood'),
    configuration: integer(
      'in a reply, how the configuration space has to travel: 0 in the state of the device, 1 once, when the data has ' +
        'been written, 2 ahead of the data each time, its actions withheld, 3 ahead each time with all its actions; 0 ' +
        'in a proposal: the answer is understood',
      0,
      255,
    ),
  }),
});

/** How the configuration space of a device has to travel when it migrates (`ferry.configuration`). */
export const ConfigurationMode = { IN_STATE: 0, AT_END: 1, AHEAD: 2, EVERY_TIME: 3 } as const;

/** A value of {@link ConfigurationMode}. */
export type ConfigurationMode = (typeof ConfigurationMode)[keyof typeof ConfigurationMode];

/** Capabilities as one side names them; what is absent was not named. */
export type Capabilities = MemberValues<(typeof capabilitiesObject)['members']>;

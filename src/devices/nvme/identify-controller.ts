import { layout, text, uint } from './layout.ts';
import {
  COMPLETION_ENTRY_SHIFT,
  ERROR_ENTRIES,
  EVENT_REQUESTS,
  MAX_TRANSFER_SHIFT,
  SUBMISSION_ENTRY_SHIFT,
} from './limits.ts';
import { VERSION } from './registers.ts';

/** Identify Controller (NVM Express 1.4, figure 247); what is not named is zero: it is not there. */
export const IDENTIFY_CONTROLLER = layout(4096, {
  VID: uint(0, 2),
  SSVID: uint(2, 2),
  SN: text(4, 20),
  MN: text(24, 40),
  FR: text(64, 8),
  RAB: uint(72, 1),
  MDTS: uint(77, 1),
  CNTLID: uint(78, 2),
  VER: uint(80, 4),
  CNTRLTYPE: uint(111, 1),
  OACS: uint(256, 2),
  ACL: uint(258, 1),
  AERL: uint(259, 1),
  FRMW: uint(260, 1),
  LPA: uint(261, 1),
  ELPE: uint(262, 1),
  WCTEMP: uint(266, 2),
  CCTEMP: uint(268, 2),
  SQES: uint(512, 1),
  CQES: uint(513, 1),
  NN: uint(516, 4),
  ONCS: uint(520, 2),
  VWC: uint(525, 1),
  SUBNQN: text(768, 256),
});

/** Optional NVM commands (ONCS). */
const Optional = { COMPARE: 0x1, DATASET_MANAGEMENT: 0x4, WRITE_ZEROES: 0x8, SAVE_AND_SELECT: 0x10 } as const;
/** The health log for the namespace's id, and log pages with offset and long lengths (LPA). */
const LOG_ATTRIBUTES = 0x4;
/** One firmware slot, read-only (FRMW). */
const FIRMWARE = 0x3;
/** A volatile write cache, and Flush takes all namespaces (VWC). */
const WRITE_CACHE = 0x7;
/** A controller with I/O queues (CNTRLTYPE). */
const IO_CONTROLLER = 1;

/** What of an Identify Controller is not the same for all. */
export interface ControllerFacts {
  readonly vendor: number;
  /** 20 ASCII characters. */
  readonly serial: string;
  /** As in RFC 4122, in lower case. */
  readonly uuid: string;
  readonly volatileCache: boolean;
  readonly canDiscard: boolean;
}

/** The model and firmware names, padded as the specification says. */
const MODEL = 'Ferry NVMe';
export const FIRMWARE_REVISION = '1.0';

/** The structure that the command Identify returns for a controller. */
export function identifyController(facts: ControllerFacts): Uint8Array {
  return IDENTIFY_CONTROLLER.encode({
    VID: facts.vendor,
    SSVID: facts.vendor,
    SN: facts.serial,
    MN: MODEL,
    FR: FIRMWARE_REVISION,
    RAB: 6,
    MDTS: MAX_TRANSFER_SHIFT,
    VER: VERSION,
    CNTRLTYPE: IO_CONTROLLER,
    ACL: 3,
    AERL: EVENT_REQUESTS - 1,
    FRMW: FIRMWARE,
    LPA: LOG_ATTRIBUTES,
    ELPE: ERROR_ENTRIES - 1,
    WCTEMP: 343,
    CCTEMP: 353,
    SQES: (SUBMISSION_ENTRY_SHIFT << 4) | SUBMISSION_ENTRY_SHIFT,
    CQES: (COMPLETION_ENTRY_SHIFT << 4) | COMPLETION_ENTRY_SHIFT,
    NN: 1,
    ONCS:
      Optional.COMPARE |
      Optional.WRITE_ZEROES |
      Optional.SAVE_AND_SELECT |
      (facts.canDiscard ? Optional.DATASET_MANAGEMENT : 0),
    VWC: facts.volatileCache ? WRITE_CACHE : 0,
    SUBNQN: `nqn.2014-08.org.nvmexpress:uuid:${facts.uuid}`.padEnd(256, '\0'),
  });
}

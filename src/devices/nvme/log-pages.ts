import type { ErrorLog } from './error-log.ts';
import { FIRMWARE_REVISION } from './identify-controller.ts';
import { CHANGED_NAMESPACES, FIRMWARE_SLOTS, HEALTH } from './log-layouts.ts';
import { LogPage } from './opcodes.ts';
import type { NvmeState } from './state.ts';

/** Always 300 K in here, and nothing wears out. */
const TEMPERATURE = 300;

/** The contents of a log page; null for one that the controller lacks. */
export function logPage(id: number, state: NvmeState, errors: ErrorLog): Uint8Array | null {
  switch (id) {
    case LogPage.ERRORS:
      return errors.page();
    case LogPage.HEALTH:
      return health(state);
    case LogPage.FIRMWARE:
      return FIRMWARE_SLOTS.encode({ AFI: 1, FRS1: FIRMWARE_REVISION });
    case LogPage.CHANGED_NAMESPACES:
      return CHANGED_NAMESPACES.encode({});
    default:
      return null;
  }
}

function health(state: NvmeState): Uint8Array {
  return HEALTH.encode({
    COMPOSITE_TEMPERATURE: TEMPERATURE,
    AVAILABLE_SPARE: 100,
    AVAILABLE_SPARE_THRESHOLD: 10,
    DATA_UNITS_READ: thousands(state.unitsRead),
    DATA_UNITS_WRITTEN: thousands(state.unitsWritten),
    HOST_READ_COMMANDS: state.commandsRead,
    HOST_WRITE_COMMANDS: state.commandsWritten,
    POWER_CYCLES: 1n,
    MEDIA_ERRORS: state.mediaErrors,
    ERROR_LOG_ENTRIES: state.errors,
  });
}

function thousands(units: bigint): bigint {
  return (units + 999n) / 1000n;
}

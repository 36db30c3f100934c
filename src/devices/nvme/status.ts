/** Status code types (NVM Express 1.4, section 4.6.1.2). */
const GENERIC = 0;
const COMMAND_SPECIFIC = 1;
const MEDIA = 2;

/** Repeating the command changes nothing. */
const DO_NOT_RETRY = 0x4000;

function final(type: number, code: number): number {
  return DO_NOT_RETRY | transient(type, code);
}

function transient(type: number, code: number): number {
  return (type << 8) | code;
}

/**
 * How a command ends: the status field of a completion queue entry without its phase tag, which is code, code type,
 * More and Do Not Retry (sections 4.6.1 and 5 for what is specific to a command).
 */
export const Status = {
  SUCCESS: 0,
  INVALID_OPCODE: final(GENERIC, 0x01),
  INVALID_FIELD: final(GENERIC, 0x02),
  /** Guest memory could not be reached. */
  DATA_TRANSFER_ERROR: transient(GENERIC, 0x04),
  INTERNAL_ERROR: transient(GENERIC, 0x06),
  ABORT_REQUESTED: transient(GENERIC, 0x07),
  INVALID_NAMESPACE: final(GENERIC, 0x0b),
  COMMAND_SEQUENCE_ERROR: final(GENERIC, 0x0c),
  INVALID_PRP_OFFSET: final(GENERIC, 0x13),
  LBA_OUT_OF_RANGE: final(GENERIC, 0x80),
  COMPLETION_QUEUE_INVALID: final(COMMAND_SPECIFIC, 0x00),
  INVALID_QUEUE_IDENTIFIER: final(COMMAND_SPECIFIC, 0x01),
  INVALID_QUEUE_SIZE: final(COMMAND_SPECIFIC, 0x02),
  EVENT_REQUEST_LIMIT: final(COMMAND_SPECIFIC, 0x05),
  INVALID_INTERRUPT_VECTOR: final(COMMAND_SPECIFIC, 0x08),
  INVALID_LOG_PAGE: final(COMMAND_SPECIFIC, 0x09),
  INVALID_QUEUE_DELETION: final(COMMAND_SPECIFIC, 0x0c),
  FEATURE_NOT_SAVEABLE: final(COMMAND_SPECIFIC, 0x0d),
  FEATURE_NOT_NAMESPACE_SPECIFIC: final(COMMAND_SPECIFIC, 0x0f),
  WRITE_FAULT: transient(MEDIA, 0x80),
  UNRECOVERED_READ: transient(MEDIA, 0x81),
  COMPARE_FAILURE: final(MEDIA, 0x85),
} as const;

/** Everything that may go wrong with one call. */
export const FAULTS = [
  /** Answers EIO; nothing happened. */
  'errno',
  /** Answers EIO although it happened. */
  'errno-after',
  /** Answers EBUSY; nothing happened. */
  'busy',
  /** Never answers; nothing happened. */
  'hang',
  /** Never answers, but it happened. */
  'hang-after',
  /** Never answers; it happens when the next call comes. */
  'late',
  /** The connection is lost before it happened. */
  'disconnect',
  /** The connection is lost after it happened. */
  'disconnect-after',
  /** The process is killed: device and connection are gone. */
  'crash',
  /** Says that it happened, but it did not; a state that is read is not the one it has. */
  'lie',
  /** Somebody else resets the device just before. */
  'foreign-reset',
  /** The device fails on the way and is in ERROR. */
  'break',
] as const;

export type Fault = (typeof FAULTS)[number];

/** After these, an end can be asked again and tells the truth. */
export const ANSWERABLE: readonly Fault[] = [
  'errno',
  'errno-after',
  'busy',
  'hang',
  'hang-after',
  'late',
  'lie',
];

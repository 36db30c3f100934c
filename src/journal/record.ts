/** Which side of a migration keeps a journal. */
export type JournalRole = 'sender' | 'receiver';

/** Which side has the device. */
export type OwningSide = 'source' | 'destination';

/** One device of the group, as the side that keeps the journal reaches it. */
export interface JournalDevice {
  /** The path of its control socket. */
  readonly path: string;
  /** `instance` of its ClaimStatus: with another number it is another device. 0 for servers without claims. */
  readonly instance: bigint;
  /** Its guest is paused: it is moved stopped, and stays so. Absent: it runs before and after. */
  readonly paused?: boolean;
}

/** Configuration that a destination has set up without some of its effects, for whoever has to go on with it. */
export interface WithheldConfiguration {
  /** The device's number. */
  readonly device: number;
  /** What is still to be done before it runs, as bits of WithheldAction. */
  readonly actions: number;
  /** The configuration space as it is to be, at most 4096 bytes. */
  readonly configuration: Uint8Array;
}

/** What a migration begins with, before anything is changed. */
export interface BeginRecord {
  readonly kind: 'BEGIN';
  /** The group that moves: 32 hex digits. */
  readonly group: string;
  /** Counts the takeovers of this migration, from 1. */
  readonly epoch: bigint;
  readonly role: JournalRole;
  /** The secret of 16 bytes with which this side has claimed its devices, as 32 hex digits. */
  readonly token: string;
  readonly devices: readonly JournalDevice[];
  /** Where the other side is, for people. */
  readonly peer: string;
  /**
   * What whoever goes on with this needs besides, in a form of its own, at most 64 KiB. Absent: nothing. A sender whose
   * journal has it also does what a receiver would, on the same host.
   */
  readonly plan?: Uint8Array;
}

/** What a side has decided, durably, before it acts on it. */
export type JournalRecord =
  | BeginRecord
  /** Receiver: everything is loaded; from now on it neither runs nor discards until it knows the outcome. */
  | {
      readonly kind: 'READY';
      readonly epoch: bigint;
      /** Absent: nothing is withheld. */
      readonly withheld?: readonly WithheldConfiguration[];
    }
  /** Sender: the destination owns the device from here on. The one record that decides. */
  | { readonly kind: 'COMMIT'; readonly epoch: bigint }
  /** Receiver: it is about to run. */
  | { readonly kind: 'RUN'; readonly epoch: bigint }
  /** Nothing is left to do. */
  | { readonly kind: 'DONE'; readonly epoch: bigint }
  /** The source keeps the device. */
  | { readonly kind: 'ABORT'; readonly epoch: bigint; readonly reason: string }
  /** A person has decided, knowing what can't be read. */
  | {
      readonly kind: 'RECOVERED';
      readonly epoch: bigint;
      readonly owner: OwningSide;
      readonly who: string;
      readonly why: string;
    };

/** The kinds of records. */
export type RecordKind = JournalRecord['kind'];

/** A record as it stands in a journal. */
export interface JournalEntry {
  /** From 0. */
  readonly sequence: number;
  /** When it was written, in milliseconds since 1970. */
  readonly atMs: number;
  readonly record: JournalRecord;
}

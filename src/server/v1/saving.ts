import { MigrationState } from '../../states/index.ts';
import type { MigrationSession } from '../migration-session.ts';

/**
 * The piece of the saving session that lies in the data section, from when it was taken out of the device until the
 * reader has acknowledged it.
 *
 * A read of pending_bytes acknowledges a piece whose place and size have both been read; any other is offered again.
 * So reads can be repeated at will, and a piece survives the change from pre-copy to stop-and-copy: QEMU acknowledges
 * the last one of pre-copy only in stop-and-copy.
 */
export class V1Saving<Party extends object> {
  readonly #session: MigrationSession<Party>;
  readonly #section: Uint8Array;
  /** Bytes of the piece; 0 when there is none. */
  #staged = 0;
  #placeRead = false;
  #sizeRead = false;

  constructor(session: MigrationSession<Party>, section: Uint8Array) {
    this.#session = session;
    this.#section = section;
  }

  /** Bytes of the piece that is offered. */
  get staged(): number {
    return this.#staged;
  }

  /** What a read of pending_bytes answers: 0 exactly when nothing is left (in pre-copy: for now). */
  pendingBytes(by: Party): bigint {
    this.#session.requireSession('saving', by);
    if (this.#placeRead && this.#sizeRead) this.drop();
    this.#stage(by);
    return this.#staged === 0 ? 0n : BigInt(this.#staged) + this.#rest(by);
  }

  /** A read of data_offset: it returns when a piece is there, if the device has any more. */
  place(by: Party): void {
    this.#session.requireSession('saving', by);
    this.#stage(by);
    this.#placeRead = this.#staged > 0;
  }

  /** A read of data_size: bytes of the piece. */
  size(by: Party): bigint {
    this.#session.requireSession('saving', by);
    this.#sizeRead = this.#staged > 0;
    return BigInt(this.#staged);
  }

  /** Forgets the piece: it was acknowledged, or its session is over. */
  drop(): void {
    this.#staged = 0;
    this.#placeRead = false;
    this.#sizeRead = false;
  }

  #stage(by: Party): void {
    if (this.#staged > 0) return;
    const lent = this.#session.view(this.#section.length, by);
    if (lent !== null) this.#section.set(lent);
    this.#staged = lent?.length ?? this.#session.read(this.#section, by);
  }

  #rest(by: Party): bigint {
    if (this.#session.state === MigrationState.STOP_COPY) return this.#session.dataSize(by);
    const { initialBytes, dirtyBytes } = this.#session.precopyInfo(by);
    return initialBytes + dirtyBytes;
  }
}

import { SMALLEST_PAGE } from './limits.ts';
import { Status } from './status.ts';

/** Where a walk stands: an error of {@link Status}, done, or it needs the list at {@link PrpWalk.listAddress}. */
export const PrpStep = { DONE: 0, NEEDS_LIST: -1 } as const;

const POINTER_SIZE = 8;
/** Data begins at a multiple of 4 bytes, lists at a multiple of 8. */
const DATA_ALIGNMENT = 3n;
const LIST_ALIGNMENT = 7n;

/**
 * Finds out which guest memory a command's PRP entries name (NVM Express 1.4, section 4.3). Pure: whoever drives it
 * brings the lists. It looks at no more of them than the length needs, so a list that leads back to itself ends, too.
 */
export class PrpWalk {
  /** Where the data is: addresses and bytes of {@link count} segments; neighbouring pages are one. */
  readonly addresses: bigint[] = [];
  readonly lengths: number[] = [];
  count = 0;
  /** The list that is needed: its address and bytes. */
  listAddress = 0n;
  listLength = 0;
  #pageSize = SMALLEST_PAGE;
  #left = 0;
  /** The address behind the last segment. */
  #end = 0n;

  /** Starts a walk over `length` bytes, 1 or more. */
  begin(prp1: bigint, prp2: bigint, length: number, pageSize: number): number {
    this.count = 0;
    this.#pageSize = pageSize;
    this.#left = length;
    if ((prp1 & DATA_ALIGNMENT) !== 0n) return Status.INVALID_PRP_OFFSET;
    this.#add(prp1, pageSize - this.#offsetOf(prp1));
    if (this.#left === 0) return PrpStep.DONE;
    if (this.#left > pageSize) return this.#need(prp2);
    if (this.#offsetOf(prp2) !== 0) return Status.INVALID_PRP_OFFSET;
    this.#add(prp2, pageSize);
    return PrpStep.DONE;
  }

  /** Takes the list that was needed: exactly {@link listLength} bytes. */
  feed(list: Uint8Array): number {
    const view = new DataView(list.buffer, list.byteOffset, list.byteLength);
    const last = this.listLength - POINTER_SIZE;
    for (let at = 0; at <= last; at += POINTER_SIZE) {
      const pointer = view.getBigUint64(at, true);
      if (this.#offsetOf(pointer) !== 0) return Status.INVALID_PRP_OFFSET;
      if (at === last && this.#left > this.#pageSize) return this.#need(pointer);
      this.#add(pointer, this.#pageSize);
    }
    return PrpStep.DONE;
  }

  /** Asks for a list. It ends with its page; a list that goes on has a pointer to the next one as its last entry. */
  #need(address: bigint): number {
    if ((address & LIST_ALIGNMENT) !== 0n) return Status.INVALID_PRP_OFFSET;
    const room = this.#pageSize - this.#offsetOf(address);
    this.listAddress = address;
    this.listLength = Math.min(room, Math.ceil(this.#left / this.#pageSize) * POINTER_SIZE);
    return PrpStep.NEEDS_LIST;
  }

  #add(address: bigint, room: number): void {
    const length = Math.min(room, this.#left);
    this.#left -= length;
    const last = this.count - 1;
    if (last >= 0 && this.#end === address) {
      this.lengths[last] = (this.lengths[last] ?? 0) + length;
    } else {
      this.addresses[this.count] = address;
      this.lengths[this.count] = length;
      this.count++;
    }
    this.#end = address + BigInt(length);
  }

  #offsetOf(address: bigint): number {
    return Number(address & BigInt(this.#pageSize - 1));
  }
}

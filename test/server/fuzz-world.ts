import type { FuzzRun } from '../helpers/fuzz-run.ts';
import { fields, RawClient } from '../helpers/raw-client.ts';
import { serveForTest } from '../helpers/served.ts';
import { TestDevice } from '../helpers/test-device.ts';
import { until } from '../helpers/until.ts';
import { readRegister } from './dma-device.ts';
import { FuzzClient } from './fuzz-client.ts';
import { proposals, type Random, randomMessage, spoiltJson, v1Seeds } from './fuzz-messages.ts';
import { setState } from './migration-driver.ts';

/** Messages sent at once. */
const BATCH = 24;
const RUNNING = 2;
const V1_REGION = 9;
const V1_RUNNING = 1;
/** What a controller proposes. */
const CONTROLLER = '{"capabilities":{"ferry":{"claim":true,"reconnection":true}}}';

/** A test device that asks for no more memory than it has, and writes some as well. */
class FuzzedDevice extends TestDevice {
  override async work(): Promise<void> {
    this.state.dmaLength &= 0xffff;
    const { dmaAddress, dmaLength, ram } = this.state;
    if (dmaLength % 2 === 1) await this.dma.write(BigInt(dmaAddress), ram.bytes.slice(0, dmaLength));
    await super.work();
  }
}

/** How many fds DMA_MAP and SET_IRQS come with. */
function fdsDue(message: Buffer): number {
  if (message.length < 36) return 0;
  const command = message.readUInt16LE(2);
  if (command === 8) return Math.min(5, message.readUInt32LE(32));
  return command === 2 ? 1 : 0;
}

/** Lets the server, which shares this thread, do what there is to do. */
export function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/** A server, and clients that say anything to it. */
export class ServerWorld {
  readonly served: ReturnType<typeof serveForTest>;
  readonly #run: FuzzRun;
  readonly #random: Random;
  readonly #v1: boolean;

  /** `v1`: the device is migrated by a region. */
  constructor(run: FuzzRun, random: Random, { v1 = false } = {}) {
    this.#run = run;
    this.#random = random;
    this.#v1 = v1;
    this.served = serveForTest(new FuzzedDevice(), {
      ...{ holdLimitMs: 50, v1: v1 ? { dataSize: 65_536 } : null },
      // What a handler throws that is no FerryError is a bug, whatever made it do so.
      report: (error) => {
        if (error.cause !== undefined && error.message.startsWith('handling'))
          run.bug('a handler', error.cause);
      },
    });
  }

  close(): void {
    this.served.close();
  }

  async everybodyHasGone(): Promise<void> {
    const { server } = this.served;
    await until(() => server.main === null && server.controls === 0);
  }

  /** Everybody talks at once, and leaves in the middle of it; how many replies there were. */
  async round(count: number): Promise<number> {
    const random = this.#random;
    const clients = [0, 1, 2].map((index) => this.#connect(index));
    await turn();
    let replies = 0;
    for (let said = 0; said < count; said += BATCH) {
      const index = random.pick([0, 0, 1, 2]);
      const client = clients[index] ?? this.#connect(index);
      await this.#say(client);
      if (!client.ended && !random.once(60)) continue;
      replies += client.replies;
      client.close();
      await turn();
      clients[index] = this.#connect(index);
      await turn();
    }
    for (const client of clients) {
      replies += client.replies;
      client.close();
    }
    await this.everybodyHasGone();
    return replies;
  }

  /** A new controller and a new VMM find a device that works, whatever has been. Says what is wrong; null: nothing. */
  async problem(): Promise<string | null> {
    await this.#release();
    const control = await RawClient.open(this.served.controlPath);
    const reset = async (): Promise<number> => (await control.request(13)).error;
    const resets = [await reset()];
    // What the VMMs of a hold have written is written now; the second reset finds nothing to keep.
    resets.push(await this.#letRun(control));
    resets.push(await reset());
    const main = await RawClient.open(this.served.socketPath);
    const registers = await Promise.all([0, 8].map((offset) => readRegister(main, offset).catch(String)));
    const unmapped = await main.request(3, fields(24, 2, 0n, 0n));
    main.close();
    control.close();
    await this.everybodyHasGone();
    const found = JSON.stringify({ resets, registers, unmapped: unmapped.error });
    const sound = { resets: resets.map(() => 0), registers: [0x600d_f00d, 7], unmapped: 0 };
    return found === JSON.stringify(sound) ? null : found;
  }

  /** Ends a hold, as a controller does that has no more use for the device. */
  async #letRun(control: RawClient): Promise<number> {
    if (!this.#v1) return setState(control, RUNNING);
    return (await control.request(10, fields(0n, V1_REGION, 4, V1_RUNNING))).error;
  }

  /** What the controllers have arranged is undone: claims, and what becomes of the state. */
  async #release(): Promise<void> {
    const control = await RawClient.open(this.served.controlPath, CONTROLLER);
    const claim = Buffer.from((await control.request(0xfe03, fields(72, 0, 0, 0, 0n, 0n, 0n))).payload);
    const epoch = claim.readBigUInt64LE(16);
    await control.request(0xfe03, fields(72, 1, 3, 0, epoch + 1n, 0n, 0n));
    await control.request(0xfe04, fields(24, 0, 2, 0));
    control.close();
    await this.everybodyHasGone();
  }

  /** fds for one message: often as many as it should have, sometimes any number, mostly none. */
  #fdsFor(message: Buffer): number[] | null {
    const random = this.#random;
    const { pool } = this.#run;
    const due = fdsDue(message);
    const count = due > 0 && !random.once(3) ? due : random.once(8) ? 1 + random.below(5) : 0;
    // Now and then all of a kind, or no SET_IRQS would ever succeed.
    const first = random.pick(pool);
    const mixed = random.once(2);
    return count === 0 ? null : Array.from({ length: count }, () => (mixed ? random.pick(pool) : first));
  }

  /** Sends a batch: glued together, one by one with fds, or in two pieces; answers to the server among them. */
  async #say(client: FuzzClient): Promise<void> {
    const random = this.#random;
    const own = Array.from({ length: BATCH }, () => randomMessage(random, this.#v1 ? v1Seeds : []));
    const messages = [...client.answers(random), ...own];
    if (random.once(3)) {
      for (const message of messages) client.send(message, this.#fdsFor(message));
    } else {
      const glued = Buffer.concat(messages);
      const cut = random.once(2) ? random.below(glued.length) : 0;
      client.send(glued.subarray(0, cut));
      if (cut > 0) await turn();
      client.send(glued.subarray(cut), this.#fdsFor(messages.at(-1) ?? glued));
    }
    await turn();
    client.drain();
  }

  #connect(index: number): FuzzClient {
    const random = this.#random;
    const { socketPath, controlPath } = this.served;
    const client = new FuzzClient(index === 0 ? socketPath : controlPath);
    const proposal = random.pick(proposals);
    client.greet(proposal !== null && random.once(8) ? spoiltJson(random, proposal) : proposal);
    return client;
  }
}

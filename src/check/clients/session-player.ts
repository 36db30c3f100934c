import { setTimeout as delay } from 'node:timers/promises';
import type { Native } from '../../native/index.ts';
import { Command, decodeHeader, HEADER_SIZE, HeaderFlag, isReply } from '../../protocol/index.ts';
import type { Exchange } from '../exchange.ts';
import { BrokenRuleError } from '../verdict.ts';
import { fields, joined, rawMessage, u64At } from '../wire/bytes.ts';
import type { Received } from '../wire/message-cutter.ts';
import { Wire } from '../wire/wire.ts';
import { type Answer, ModelServer } from './model/model-server.ts';
import { Recorder, type SaidNow } from './recorder.ts';
import { type Behaviour, type Deed, ScriptCursor } from './script.ts';

/** What {@link SessionPlayer} has to know. */
export interface PlayerOptions {
  readonly native: Native;
  /** The accepted connection; the player's from then on. */
  readonly fd: number;
  readonly behaviour: Behaviour;
  readonly exchange: Exchange;
  /** How long the session may last, milliseconds. */
  readonly limitMs: number;
}

/** How long a client may take to answer a command of the server, milliseconds. */
const ANSWER_MS = 2000;
const PAUSE_MS = 2;
const UNKNOWN_COMMAND = 99;
const ASKED_BYTES = 64;
/** An address that no client maps. */
const OUTSIDE = 0xffff_ffff_ffff_0000n;

/** Plays a server to one connection of a client, and writes down what happens. */
export class SessionPlayer {
  readonly recorder = new Recorder();
  readonly #options: PlayerOptions;
  readonly #wire: Wire;
  readonly #server: ModelServer;
  readonly #script: ScriptCursor;
  readonly #asked: Promise<void>[] = [];
  readonly #maps: { readonly address: bigint; readonly size: bigint }[] = [];
  #work: Promise<void> = Promise.resolve();
  #left = false;

  constructor(options: PlayerOptions) {
    this.#options = options;
    this.#server = new ModelServer(options.behaviour.offers);
    this.#script = new ScriptCursor(options.behaviour.steps);
    const { native, fd, exchange } = options;
    this.#wire = new Wire({ native, fd, exchange, channel: 'main', timeoutMs: ANSWER_MS });
    this.#wire.onCommand = (message) => this.#came(message);
  }

  /** The size that a header of the client claimed, if no message has it. */
  get impossible(): number | null {
    return this.#wire.impossible;
  }

  /** Settles when the connection is over: the client has gone, the script has ended it, or the time is up. */
  async run(): Promise<void> {
    const gone = await this.#wire.closes(this.#options.limitMs);
    await this.#work;
    await Promise.all(this.#asked);
    this.#recordStrays();
    if (gone && !this.#left) this.recorder.ended('client', this.#wire.ended ?? 'it closed the connection');
    else this.recorder.ended('server', this.#left ? 'the script closed the connection' : 'the time was up');
    this.#wire.close();
  }

  #came(message: Received): void {
    if (this.recorder.full || this.#left) return;
    const said = this.recorder.said(message, this.#server.migration.state);
    this.#work = this.#work.then(() => this.#handle(said, message.payload)).catch(forgiveEnd);
  }

  async #handle(said: SaidNow, payload: Uint8Array): Promise<void> {
    if (this.#left) return;
    said.state = this.#server.migration.state;
    const { command } = said.header;
    const deeds = this.#script.next(command);
    for (const deed of deeds) {
      if (deed.kind === 'delay') await delay(deed.ms);
      else if (deed.kind === 'ask') this.#ask(deed.ask);
    }
    const leave = deeds.find((deed) => deed.kind === 'disconnect');
    if (leave !== undefined && !leave.after) return this.#leave();
    await this.#answer(said, this.#outcome(command, payload, deeds), deeds);
    if (leave !== undefined) this.#leave();
  }

  /** What the server makes of a command; a refused one changes nothing. */
  #outcome(command: number, payload: Uint8Array, deeds: readonly Deed[]): Answer {
    const refuse = deeds.find((deed) => deed.kind === 'refuse');
    if (refuse !== undefined) return { error: refuse.errno, payload: new Uint8Array(0) };
    const answer = this.#server.answer(command, payload);
    if (command === Command.DMA_MAP && answer.error === 0)
      this.#maps.push({ address: u64At(payload, 16), size: u64At(payload, 24) });
    return answer;
  }

  async #answer(said: SaidNow, answer: Answer, deeds: readonly Deed[]): Promise<void> {
    if ((said.header.flags & HeaderFlag.NO_REPLY) !== 0) return;
    if (deeds.some(({ kind }) => kind === 'silent')) return;
    const { bytes, fault } = distorted(said, answer, deeds);
    const header = decodeHeader(bytes);
    this.recorder.told(header, bytes.subarray(HEADER_SIZE), fault, said);
    await this.#send(bytes, deeds);
    if (!deeds.some(({ kind }) => kind === 'twice')) return;
    this.recorder.told(header, bytes.subarray(HEADER_SIZE), 'the same once more', said);
    await this.#wire.send(bytes);
  }

  async #send(bytes: Uint8Array, deeds: readonly Deed[]): Promise<void> {
    const pieces = deeds.find((deed) => deed.kind === 'pieces');
    if (pieces === undefined) return await this.#wire.send(bytes);
    for (let start = 0; start < bytes.length; start += pieces.bytes) {
      await this.#wire.send(bytes.subarray(start, start + pieces.bytes));
      await delay(PAUSE_MS);
    }
  }

  /** Sends a command to the client; its reply is waited for beside what else goes on: it may come only later. */
  #ask(what: Extract<Deed, { kind: 'ask' }>['ask']): void {
    const [map] = this.#maps;
    const address = what === 'dma-outside' ? OUTSIDE : map?.address;
    if (what !== 'unknown' && address === undefined) return;
    const count = BigInt(ASKED_BYTES);
    const range = fields(address ?? 0n, count);
    const [command, payload] =
      what === 'unknown'
        ? [UNKNOWN_COMMAND, range]
        : what === 'dma-write'
          ? [Command.DMA_WRITE, joined(range, new Uint8Array(ASKED_BYTES))]
          : [Command.DMA_READ, range];
    const id = this.#wire.nextId();
    const bytes = rawMessage(command, payload, { id });
    this.recorder.told(
      decodeHeader(bytes),
      payload,
      what === 'unknown' ? 'there is no such command' : null,
      null,
    );
    this.#asked.push(
      this.#wire
        .send(bytes)
        .then(() => this.#awaitAnswer(id))
        .catch(forgiveEnd),
    );
  }

  async #awaitAnswer(id: number): Promise<void> {
    const fits = ({ header }: Received): boolean => isReply(header.flags) && header.messageId === id;
    const reply = await this.#wire.next('a reply', fits, ANSWER_MS);
    this.recorder.said(reply, this.#server.migration.state);
  }

  /** What has come that is neither a command nor a reply that was waited for. */
  #recordStrays(): void {
    for (let stray = this.#wire.take(); stray !== null; stray = this.#wire.take())
      this.recorder.said(stray, this.#server.migration.state);
  }

  #leave(): void {
    this.#left = true;
    this.#wire.close();
  }
}

/** The reply as it is sent, and what is wrong with it on purpose. */
function distorted(said: SaidNow, { error, payload }: Answer, deeds: readonly Deed[]) {
  const faults: string[] = [];
  let [id, body, size] = [said.header.messageId, payload, 0];
  for (const deed of deeds) {
    switch (deed.kind) {
      case 'wrong-id':
        id = (id + 0x4000) & 0xffff;
        faults.push('another id');
        break;
      case 'short':
        body = body.subarray(0, deed.bytes);
        faults.push(`only ${deed.bytes} bytes`);
        break;
      case 'oversized':
        body = joined(body, new Uint8Array(deed.bytes));
        faults.push(`${deed.bytes} bytes too many`);
        break;
      case 'wrong-size':
        size = deed.bytes;
        faults.push(`a header that names ${deed.bytes} bytes`);
        break;
      case 'patch':
        body = body.slice();
        if (deed.at + deed.bytes.length <= body.length) body.set(deed.bytes, deed.at);
        faults.push(`bytes changed at ${deed.at}`);
    }
  }
  const flags = error === 0 ? 1 : 1 | HeaderFlag.ERROR;
  const whole = HEADER_SIZE + body.length;
  const bytes = rawMessage(said.header.command, body, { id, flags, error, size: size === 0 ? whole : size });
  return { bytes, fault: faults.length === 0 ? null : faults.join(', ') };
}

/** A client may leave whenever it likes: that is written down where the connection ends. */
function forgiveEnd(error: unknown): void {
  if (!(error instanceof BrokenRuleError)) throw error;
}

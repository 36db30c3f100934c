import type { Figures } from '../../trace/index.ts';
import { figureLines } from './figures-text.ts';

const INTERVAL_MS = 1000;

/** Shows figures on a terminal again and again, in the same place. */
export class LiveFigures {
  readonly #figures: () => Figures;
  readonly #timer: NodeJS.Timeout | null;
  #before: Figures | null = null;
  #height = 0;

  /** Without a terminal nothing is shown before {@link end}. */
  constructor(figures: () => Figures) {
    this.#figures = figures;
    this.#timer = process.stdout.isTTY === true ? setInterval(() => this.#draw(), INTERVAL_MS) : null;
  }

  /** Shows them a last time, with the rates over all of the trace. */
  end(): void {
    if (this.#timer !== null) clearInterval(this.#timer);
    this.#before = null;
    this.#draw();
  }

  #draw(): void {
    const figures = this.#figures();
    const lines = figureLines(figures, this.#before);
    const back = this.#height === 0 ? '' : `\u001b[${this.#height}A\u001b[J`;
    process.stdout.write(`${back}${lines.join('\n')}\n`);
    this.#height = process.stdout.isTTY === true ? lines.length : 0;
    this.#before = figures;
  }
}

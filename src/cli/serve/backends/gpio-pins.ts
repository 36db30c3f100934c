import { createInterface } from 'node:readline';
import { GPIO_LINES, Gpio } from '../../../devices/index.ts';
import { UsageError } from '../../outcome/usage-error.ts';
import { print, printable, printError, toJson } from '../../output/terminal.ts';
import type { AttendedDevice } from '../attended-device.ts';

/** An input and the level that it is to have. */
export interface InputLevel {
  readonly line: number;
  readonly level: boolean;
}

/** Reads inputs such as `in3=1 in12=0`, apart by blanks or commas. Throws UsageError for anything else. */
function parseInputs(text: string): readonly InputLevel[] {
  return text
    .split(/[\s,]+/)
    .filter((word) => word !== '')
    .map(parseInput);
}

function parseInput(word: string): InputLevel {
  const match = /^in(\d{1,2})=([01])$/i.exec(word);
  const line = Number(match?.[1]);
  if (match === null || line >= GPIO_LINES) {
    throw new UsageError(`${word} sets no input: write in0=1, with inputs from 0 to ${GPIO_LINES - 1}`);
  }
  return { line, level: match[2] === '1' };
}

/** The outputs in which two levels of all outputs differ, as `out3=1`. */
function changedOutputs(before: number, after: number): readonly string[] {
  return Array.from({ length: GPIO_LINES }, (_, line) => line)
    .filter((line) => (((before ^ after) >> line) & 1) !== 0)
    .map((line) => `out${line}=${(after >> line) & 1}`);
}

/**
 * A gpio whose outputs are printed when they change, a line for each change, and whose inputs are set by lines on
 * standard input.
 */
export function gpioPins({
  inputs,
  json,
}: {
  readonly inputs: string;
  readonly json: boolean;
}): AttendedDevice {
  let shown = 0;
  const show = (outputs: number): void => {
    const changed = changedOutputs(shown, outputs);
    shown = outputs;
    print(json ? toJson({ outputs, changed }) : changed.join(' '));
  };
  const device = new Gpio({ onOutputs: show });
  setInputs(device, inputs);
  const lines = createInterface({ input: process.stdin });
  lines.on('line', (line) => obey(device, line));
  return {
    device,
    close: () => {
      lines.close();
      process.stdin.destroy();
    },
  };
}

/** A line that is wrong is said to be so; the device is served on. */
function obey(device: Gpio, line: string): void {
  try {
    setInputs(device, line);
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    printError(`ferry: ${printable(error.message)}`);
  }
}

/** All of a text, or nothing of it; at once, so that the guest sees one change. */
function setInputs(device: Gpio, text: string): void {
  let levels = device.inputs;
  for (const { line, level } of parseInputs(text)) {
    levels = level ? levels | (1 << line) : levels & ~(1 << line);
  }
  if (levels !== device.inputs) device.inputs = levels;
}

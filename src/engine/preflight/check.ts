import { migrationMachine } from '../../states/index.ts';
import { askAll, type Course, observe } from '../course.ts';
import type { Sequence } from '../step.ts';
import { StepError } from '../step-error.ts';
import type { Manifest, ManifestDevice } from './manifest.ts';
import { judgeSide } from './preflight.ts';

/** What a side says of itself besides its devices. */
export type ManifestFrame = Omit<Manifest, 'devices'>;

/** Asks this side's devices what they are, without changing anything. */
export function* describeSide(course: Course, frame: ManifestFrame): Sequence<Manifest> {
  const { devices } = course;
  const flags = yield* askAll(devices, 'flags', 'flags');
  const inspections = yield* askAll(devices, 'inspect', 'inspection');
  const needs = yield* askAll(devices, 'configurationNeed', 'need');
  yield* observe(devices);
  const described = devices.map((device, i): ManifestDevice => {
    const inspection = inspections[i]?.inspection;
    return {
      name: device.name,
      flags: Number(flags[i]?.flags ?? -1n) < 0 ? null : Number(flags[i]?.flags),
      state: device.state ?? 0,
      identity: inspection?.identity ?? null,
      busy: inspection?.busy ?? null,
      backEnds: inspection?.backEnds ?? [],
      ...(inspection?.largestPiece === undefined ? {} : { largestPiece: inspection.largestPiece }),
      instance: (inspection?.instance ?? 0n).toString(16).padStart(16, '0'),
      configuration: needs[i]?.need ?? null,
      claims: device.claimable,
    };
  });
  return { devices: described, ...frame };
}

/** Makes sure that this side can take part, and learns the machines of its devices. */
export function requireFit(course: Course, manifest: Manifest): void {
  refuseFor(course, judgeSide(course.end, manifest));
  adoptMachines(course, manifest);
}

/** Learns the machines of devices that have been judged. */
export function adoptMachines(course: Course, manifest: Manifest): void {
  course.devices.forEach((device, i) => {
    const flags = manifest.devices[i]?.flags ?? null;
    device.machine = flags === null ? null : migrationMachine(flags);
  });
}

/** Refuses the migration when there are reasons to. */
export function refuseFor(course: Course, reasons: readonly string[]): void {
  if (reasons.length > 0) throw new StepError('ERR_STEP_REFUSED', course.end, reasons.join('; '));
}

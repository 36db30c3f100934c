import type { Native } from '../../native/index.ts';
import { PCI_NUM_REGIONS } from '../../protocol/index.ts';
import type { MigrationSession } from '../migration-session.ts';
import { DEFAULT_V1_DATA_SIZE, V1DataSection } from './data-section.ts';
import type { SetState } from './state-change.ts';
import { V1Migration } from './v1-migration.ts';
import { type V1Options, v1RulesOf } from './v1-options.ts';

/** Index of the migration region: the first behind those that every PCI device has, as libvfio-user had it. */
export const V1_REGION_INDEX = PCI_NUM_REGIONS;

/** The migration region of a served device: its memory and what it means. */
export class V1Interface<Party extends object> {
  readonly section: V1DataSection;
  readonly migration: V1Migration<Party>;

  /** @throws ServerError EINVAL for options that can't be; NativeError */
  constructor(
    native: Native,
    options: V1Options,
    session: MigrationSession<Party>,
    setState: SetState<Party>,
  ) {
    const rules = v1RulesOf(options.rule);
    this.section = new V1DataSection(native, options.dataSize ?? DEFAULT_V1_DATA_SIZE);
    this.migration = new V1Migration({ session, section: this.section.bytes, rules, setState });
  }

  /** What a server tells of it; every value is JSON. */
  inspect() {
    const { rules, state, staged } = this.migration;
    return { deviceState: state, rule: rules.id, dataSize: this.section.bytes.length, staged };
  }
}

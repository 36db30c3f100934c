import { V1State } from './device-state.ts';

const { STOP, RUNNING, STOP_COPY, PRE_COPY, RESUMING, ERROR } = V1State;

/** What is known of one change besides the verdict. */
export type ChangeRemark = readonly [from: number, to: number, text: string];

/** Rules that were published as a list of changes. */
export interface PublishedTable {
  readonly id: string;
  readonly title: string;
  readonly source: string;
  /** What the list says of a change that is not on it. */
  readonly others: 'unlisted' | 'refused';
  /** What becomes of bits 3 to 31: not looked at, refused, or undefined. */
  readonly reservedBits: 'ignored' | 'refused' | 'undefined';
  /** What 110 means there. */
  readonly name110: 'ERROR' | 'invalid 110';
  /** From each state to these. */
  readonly changes: readonly (readonly [from: number, to: readonly number[]])[];
  readonly remarks: readonly ChangeRemark[];
}

/** The table of valid states and the transitions 1 to 7 of the review of the draft. */
export const DRAFT_2019: PublishedTable = {
  id: 'v1-2019',
  title: 'review of the draft, November 2019: transitions 1 to 7',
  source: 'qemu-devel, "PATCH v9 Kernel 1/5: vfio: KABI for migration interface", 12 and 13 November 2019',
  others: 'unlisted',
  reservedBits: 'ignored',
  name110: 'invalid 110',
  changes: [
    [STOP, [RESUMING]],
    [RUNNING, [STOP, PRE_COPY, RESUMING]],
    [PRE_COPY, [RUNNING, STOP_COPY]],
    [RESUMING, [RUNNING]],
  ],
  remarks: [
    [RUNNING, PRE_COPY, 'Transition 1: start gathering the state.'],
    [RUNNING, STOP, 'Transition 2: stop; its use was doubted.'],
    [PRE_COPY, STOP_COPY, 'Transition 3: stop and gather the rest.'],
    [
      RUNNING,
      RESUMING,
      'Transition 4: RESUMING on and RUNNING off, in one write: 101 is invalid in between.',
    ],
    [
      RESUMING,
      RUNNING,
      'Transition 5: userspace does it, as the header settled later; the draft left that open.',
    ],
    [PRE_COPY, RUNNING, 'Transition 6: abort saving and go on.'],
    [STOP, RESUMING, 'Transition 7: depends on 000 being generally available, which it is.'],
  ],
};

/** The diagram in the comment of the header. */
export const UAPI_COMMENT: PublishedTable = {
  id: 'v1-uapi',
  title: 'comment of linux/vfio.h, Linux 5.8 to 5.17',
  source: 'include/uapi/linux/vfio.h, struct vfio_device_migration_info, "State transitions"',
  others: 'unlisted',
  reservedBits: 'ignored',
  name110: 'ERROR',
  changes: [
    [RUNNING, [STOP, STOP_COPY, PRE_COPY, RESUMING]],
    [STOP_COPY, [STOP]],
    [PRE_COPY, [STOP_COPY]],
    [RESUMING, [RUNNING]],
  ],
  remarks: [],
};

/** The function that checked transitions in the core, as proposed. */
export const CHECK_2021: PublishedTable = {
  id: 'v1-2021-09',
  title: 'vfio_change_migration_state_allowed(), patch of 22 September 2021',
  source:
    'linux-kernel, "[PATCH mlx5-next 2/7] vfio: Add an API to check migration state transition validity"',
  others: 'refused',
  reservedBits: 'refused',
  name110: 'ERROR',
  changes: [
    [STOP, [RUNNING, RESUMING]],
    [RUNNING, [STOP, STOP_COPY, PRE_COPY]],
    [STOP_COPY, [STOP, RUNNING]],
    [PRE_COPY, [RUNNING, STOP_COPY]],
    [RESUMING, [STOP, RUNNING]],
  ],
  remarks: [
    [
      RUNNING,
      RESUMING,
      'Missing: reviewers said that it must be allowed; the header begins resuming with it.',
    ],
    [STOP_COPY, PRE_COPY, 'Asked in review: why not back to pre-copy?'],
    [PRE_COPY, STOP, 'Asked in review: should a device not always be allowed to stop?'],
    [RESUMING, PRE_COPY, 'Asked in review: why not, for tracing?'],
    [RESUMING, STOP_COPY, 'Asked in review: why not, to validate what was restored?'],
    ...[STOP, RUNNING, STOP_COPY, PRE_COPY, RESUMING].map(
      (state): ChangeRemark => [
        state,
        state,
        'The driver that called the function answered a write of the current state before it asked.',
      ],
    ),
  ],
};

/** The table by which libvfio-user (until September 2023), and with it SPDK, checks what a client writes. */
export const LIBVFIO_USER: PublishedTable = {
  id: 'v1-libvfio-user',
  title: 'libvfio-user until September 2023, as deployed',
  source: 'libvfio-user before "adapt to VFIO live migration v2" (#782), lib/migration_priv.h, migr_states',
  others: 'refused',
  reservedBits: 'undefined',
  name110: 'ERROR',
  changes: [
    [STOP, [STOP, RUNNING]],
    [RUNNING, [STOP, RUNNING, STOP_COPY, PRE_COPY, RESUMING, ERROR]],
    [STOP_COPY, [STOP, RUNNING, STOP_COPY, ERROR]],
    [PRE_COPY, [STOP, RUNNING, STOP_COPY, ERROR]],
    [RESUMING, [RUNNING, RESUMING, ERROR]],
  ],
  remarks: [
    [
      PRE_COPY,
      RUNNING,
      'Not meant: the entry is `1 << RUNNING | SAVING`, which C reads as `(1 << RUNNING) | SAVING`, the bit of RUNNING.',
    ],
    [
      PRE_COPY,
      PRE_COPY,
      'Meant, but `1 << RUNNING | SAVING` is the bit of RUNNING in C; `1 << (RUNNING | SAVING)` was wanted.',
    ],
    [STOP, STOP_COPY, 'What a VMM writes after a reset in pre-copy that it did not notice (issue #853).'],
    [STOP, RESUMING, 'A destination that was stopped first can not resume here.'],
  ],
};

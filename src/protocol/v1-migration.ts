import { padding, struct, u32, u64, type ValueOfStruct } from './layout.ts';

/**
 * The region type of the first migration interface (VFIO_REGION_TYPE_MIGRATION, linux/vfio.h of Linux 5.8 to 5.17;
 * later headers call it VFIO_REGION_TYPE_MIGRATION_DEPRECATED).
 */
export const V1_REGION_TYPE = 3;

/** The one subtype of {@link V1_REGION_TYPE} (VFIO_REGION_SUBTYPE_MIGRATION). */
export const V1_REGION_SUBTYPE = 1;

/** What device_state shows of its bits. */
const binary = (value: number): string => `0b${value.toString(2).padStart(3, '0')}`;

/**
 * The registers at the start of the migration region (linux/vfio.h of Linux 5.8 to 5.17, struct
 * vfio_device_migration_info). Each is accessed at its native width and alignment, or not at all.
 */
export const V1MigrationInfo = struct('v1 migration registers', {
  deviceState: u32('read: the state; write: where to go; bits RUNNING 1, SAVING 2, RESUMING 4', {
    format: binary,
  }),
  reserved: padding(4, 'reads as 0, writes are ignored'),
  pendingBytes: u64('read: about how much is left to save, 0 at the end; acknowledges the piece before'),
  dataOffset: u64(
    'read: where the piece is in the region, or goes; never 0; has the next piece made available',
    {
      format: 'hex',
    },
  ),
  dataSize: u64('saving: bytes of the piece; resuming, write: so many were written, and are consumed'),
});

/** The value of {@link V1MigrationInfo}. */
export type V1MigrationInfo = ValueOfStruct<typeof V1MigrationInfo>;

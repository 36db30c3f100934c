/** I/O queue pairs. */
export const IO_QUEUES = 64;

/** Queues of each kind: admin is number 0. */
export const QUEUES = IO_QUEUES + 1;

/** MSI-X vectors: one for each completion queue, as drivers with many CPUs like it. */
export const VECTORS = QUEUES;

/** Entries of a queue, at most; at least 2 (NVM Express 1.4, section 4.1.3). */
export const MAX_ENTRIES = 4096;

/** Bytes of a submission queue entry and of a completion queue entry, as powers of two (section 4.2 and 4.6). */
export const SUBMISSION_ENTRY_SHIFT = 6;
export const COMPLETION_ENTRY_SHIFT = 4;
export const SUBMISSION_ENTRY = 1 << SUBMISSION_ENTRY_SHIFT;
export const COMPLETION_ENTRY = 1 << COMPLETION_ENTRY_SHIFT;

/** Memory pages have 4 KiB to 64 KiB. */
export const SMALLEST_PAGE = 4096;
export const LARGEST_PAGE_SHIFT = 16;

/** Bytes that one command may move, as a power of two above 4 KiB (MDTS): 2 MiB. */
export const MAX_TRANSFER_SHIFT = 9;
export const MAX_TRANSFER = SMALLEST_PAGE << MAX_TRANSFER_SHIFT;

/** Asynchronous event requests that may be outstanding. */
export const EVENT_REQUESTS = 4;

/** Entries of the error information log. */
export const ERROR_ENTRIES = 16;

/** The only namespace. */
export const NAMESPACE = 1;
/** All namespaces, where a command allows it. */
export const ALL_NAMESPACES = 0xffffffff;

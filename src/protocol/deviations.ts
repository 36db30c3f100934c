/** A point on which the text, the kernel and implementations differ, and what Ferry does. */
export interface Deviation {
  /** Message or topic. */
  readonly about: string;
  /** vfio-user.rst as of QEMU 11.1. */
  readonly text: string;
  /** linux/vfio.h and drivers/vfio (7.2), libvfio-user (efd091b), QEMU's client (11.1). */
  readonly others: string;
  readonly ferry: string;
}

/**
 * Every such point. For an errno the text comes first, then the kernel, then libvfio-user; for a layout the form that
 * implementations use is sent, and both are accepted.
 */
export const deviations: readonly Deviation[] = [
  {
    about: 'Any command: error reply',
    text: 'the header alone',
    others: 'libvfio-user appends a payload to some',
    ferry: 'sends the header alone; ignores a payload that comes',
  },
  {
    about: 'Any request: bytes after the payload',
    text: 'silent',
    others: 'the kernel lets structures with argsz grow; libvfio-user ignores them everywhere',
    ferry:
      'ignores them after structures with argsz and after DEVICE_RESET; EINVAL where all bytes have a meaning; never sends any',
  },
  {
    about: 'Any command: structures with fields that "must be zero" in a request',
    text: 'zero, but no errno',
    others:
      'the kernel and libvfio-user ignore them, except libvfio-user in DEVICE_GET_REGION_IO_FDS (EINVAL)',
    ferry: 'sends zero; ignores them, except in DEVICE_GET_REGION_IO_FDS (EINVAL)',
  },
  {
    about: 'VERSION: unsupported major version',
    text: 'the server closes the connection',
    others: 'libvfio-user answers EINVAL first',
    ferry: 'EINVAL, then closes',
  },
  {
    about: 'VERSION: capabilities of a reply',
    text: 'a subset of those proposed',
    others:
      'libvfio-user always names its own; QEMU warns of unknown ones and takes no reply longer than its proposal',
    ferry: 'a subset; as a client ignores what it did not propose, except limits',
  },
  {
    about: 'VERSION: max_data_xfer_size of 0 or less',
    text: 'silent',
    others: 'libvfio-user accepts it and then sends empty messages for ever',
    ferry: 'EINVAL',
  },
  {
    about: 'VERSION: max_msg_fds',
    text: 'must be respected',
    others:
      'libvfio-user ignores it both ways; more than 1024 is EINVAL there and more than 16 from a server fatal at QEMU',
    ferry: 'respects it; more than 1024 is EINVAL; names 16',
  },
  {
    about: 'VERSION: migration.pgsize',
    text: 'not there',
    others: 'QEMU and libvfio-user send 4096; libvfio-user refuses anything else (EINVAL)',
    ferry: 'names 4096; accepts any power of two',
  },
  {
    about: 'max_data_xfer_size: what it bounds',
    text: 'count of DMA_READ, DMA_WRITE, REGION_READ and REGION_WRITE, by the value of the peer',
    others: "libvfio-user bounds size of MIG_DATA_READ and MIG_DATA_WRITE by the client's value",
    ferry:
      'bounds all six by the value of the side that gets the request, and by 16 MiB; as a client asks MIG_DATA_READ for no more than it named itself',
  },
  {
    about: 'DMA_MAP: access mode bits',
    text: '4 mmap, 8 file I/O (added in QEMU 11.1); EINVAL without a descriptor',
    others: 'libvfio-user has both and refuses them together (EINVAL); QEMU does not send them',
    ferry: 'accepts both; EINVAL together or without a descriptor',
  },
  {
    about: 'DMA_MAP: over an existing region',
    text: 'EEXIST',
    others: 'libvfio-user accepts an identical one, else EINVAL',
    ferry: 'EEXIST',
  },
  {
    about: 'DMA_MAP: neither READ nor WRITE, or size 0',
    text: 'silent',
    others: 'kernel EINVAL; libvfio-user accepts both without a descriptor',
    ferry: 'EINVAL',
  },
  {
    about: 'DMA_MAP, DMA_UNMAP: address + size over 2^64',
    text: 'silent',
    others: 'kernel EOVERFLOW; libvfio-user accepts a region that ends at 2^64',
    ferry: 'EOVERFLOW; may end at 2^64',
  },
  {
    about: 'DMA_UNMAP: flags',
    text: 'unused',
    others: 'kernel and libvfio-user: 1 dirty bitmap, 2 all; QEMU sends 2',
    ferry: 'both; any other bit, or both together, EINVAL',
  },
  {
    about: 'DMA_WRITE: reply',
    text: '16 bytes since QEMU 11.1, 12 (u32 count) before',
    others: 'QEMU and libvfio-user 16',
    ferry: 'sends 16, accepts both',
  },
  {
    about: 'DEVICE_GET_REGION_INFO: MMAP',
    text: 'the reply brings a descriptor',
    others: 'libvfio-user sends none when argsz is too small for the capabilities, and clears CAPS',
    ferry: 'the same as libvfio-user, so that a descriptor comes once',
  },
  {
    about: 'DEVICE_GET_REGION_IO_FDS: sub-region',
    text: '40 bytes; entry i is at i * ((argsz - 32) / count)',
    others: 'libvfio-user 48 bytes, after a fixed part of 16',
    ferry: 'sends 48, accepts both, told apart by the size of the payload',
  },
  {
    about: 'DEVICE_GET_REGION_IO_FDS: descriptors',
    text: 'at least one',
    others: 'libvfio-user may send none (fd_index 0xffffffff)',
    ferry: 'may send and accepts none',
  },
  {
    about: 'DEVICE_GET_REGION_IO_FDS: argsz over max_data_xfer_size, a region of size 0',
    text: 'silent',
    others: 'libvfio-user EINVAL',
    ferry: 'EINVAL',
  },
  {
    about: 'DEVICE_SET_IRQS: argsz',
    text: 'bytes of the request, data included',
    others: 'kernel EINVAL when it leaves out the data; libvfio-user takes 20 with data',
    ferry: 'sends it with data; accepts 20, since msg_size tells the truth',
  },
  {
    about: 'DEVICE_SET_IRQS: no action or several',
    text: 'mutually exclusive, no errno',
    others: 'kernel ENOTTY (nothing handles the combination); libvfio-user EINVAL',
    ferry: 'EINVAL: the message is malformed, whatever the device can do',
  },
  {
    about: 'DEVICE_SET_IRQS: count 0 without DATA_NONE|ACTION_TRIGGER',
    text: 'only DATA_NONE disables',
    others: 'libvfio-user EINVAL',
    ferry: 'EINVAL',
  },
  {
    about: 'DEVICE_SET_IRQS: DATA_BOOL',
    text: 'booleans',
    others: 'kernel: anything but 0 is true; libvfio-user: only 1 is',
    ferry: 'anything but 0 is true; sends 1',
  },
  {
    about: 'DEVICE_SET_IRQS: MASK and UNMASK',
    text: 'only if GET_IRQ_INFO says MASKABLE',
    others: 'libvfio-user never says it but accepts them; QEMU sends UNMASK for INTx',
    ferry: 'says MASKABLE for INTx, MSI and MSI-X and accepts them there',
  },
  {
    about: 'DEVICE_SET_IRQS: DATA_EVENTFD with MASK or UNMASK',
    text: 'the descriptor is signalled when the guest masks or unmasks',
    others:
      'kernel: only UNMASK of INTx, else ENOTTY; libvfio-user accepts it and drops the descriptor; QEMU does not send it',
    ferry: 'ENOTTY',
  },
  {
    about: 'REGION_READ, REGION_WRITE: count 0',
    text: 'a reply of 16 bytes',
    others: 'libvfio-user: an empty reply',
    ferry: '16 bytes',
  },
  {
    about: 'REGION_READ, REGION_WRITE: READ and WRITE flags of the region',
    text: 'allow access',
    others: 'libvfio-user does not enforce them',
    ferry: 'enforces them',
  },
  {
    about: 'DEVICE_FEATURE: unknown feature',
    text: 'silent',
    others: 'kernel ENOTTY; libvfio-user EINVAL',
    ferry: 'ENOTTY',
  },
  {
    about: 'DEVICE_FEATURE: features and states',
    text: '1, 2, 6, 7, 8; P2P states "not used"',
    others: 'the kernel has 9 MIG_DATA_SIZE and the P2P states',
    ferry: 'has both; a peer that does not know 9 answers with an error, which is no failure',
  },
  {
    about: 'DMA_LOGGING_START: num_ranges 0',
    text: 'log everything',
    others: 'kernel EINVAL; libvfio-user ignores ranges',
    ferry: 'logs everything',
  },
  {
    about: 'DMA_LOGGING_START: page_size',
    text: 'a hint; the reply says what was chosen',
    others: 'libvfio-user echoes it, accepts 4097, refuses 0 and a change while logging',
    ferry: 'a power of two, else EINVAL; the reply says what was chosen',
  },
  {
    about: 'DMA_LOGGING_REPORT: range',
    text: 'any range',
    others: 'libvfio-user only one that begins where a region begins and stays in it',
    ferry: 'any range that does not reach 2^64 (EOVERFLOW, as in the kernel)',
  },
  {
    about: 'DMA_LOGGING_REPORT: which bit',
    text: 'a formula that shifts by the address',
    others: 'kernel and libvfio-user: bit i of the little-endian words is page i',
    ferry: 'bit i is page i',
  },
  {
    about: 'MIG_DATA_READ: end of data',
    text: 'fewer bytes than asked for',
    others:
      'libvfio-user: 0 bytes, and replies padded to the size asked for; the kernel says ENOMSG at the end of PRE_COPY',
    ferry: 'sends fewer only at the end, then 0; reads until 0 and believes only the size field',
  },
  {
    about: 'MIG_DATA_WRITE: argsz',
    text: 'largest reply payload (there is none)',
    others: 'libvfio-user EINVAL if less than 8 + size',
    ferry: 'sends 8 + size; accepts from 8',
  },
  {
    about: 'DEVICE_RESET: migration state',
    text: 'leaves ERROR for RUNNING',
    others:
      'the kernel resets to RUNNING from any state; libvfio-user keeps the state and refuses a reset when stopped',
    ferry: 'resets to RUNNING; as a client reads the state back',
  },
  {
    about: 'Commands of the server on the main socket',
    text: 'may come between a request and its reply',
    others: 'libvfio-user cannot handle that without twin_socket',
    ferry: 'handles it; uses the twin socket when both have it',
  },
];

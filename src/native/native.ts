/**
 * The face of the native addon: the system calls that Node lacks, one function each, no policy.
 *
 * Every function that can fail in the kernel returns a non-negative value or a negated errno (`-11` is EAGAIN);
 * none throws for what the kernel says. Wrong argument types throw a TypeError, numbers that are no integer or out of
 * bounds a RangeError. All fds are created with CLOEXEC, all sockets are non-blocking unless a function says
 * otherwise. EINTR is retried inside.
 *
 * It is an interface so that tests can hand in a fake.
 */
export interface Native {
  /**
   * Creates a UNIX stream socket bound to `path` and listens. Returns the fd. The file has mode `mode` (permission
   * bits) less the umask from its first moment. -EADDRINUSE when the path exists, -ENAMETOOLONG above 107 bytes.
   */
  listen(path: string, mode: number, backlog: number): number;
  /**
   * Connects to the UNIX stream socket at `path`; returns the non-blocking fd. Never waits: -EAGAIN when the
   * listener's backlog is full.
   */
  connect(path: string): number;
  /**
   * Connects a new UNIX datagram socket to the one at `path`, or with an abstract name if that begins with `@`; returns
   * the non-blocking fd, for {@link send}.
   */
  connectDatagram(path: string): number;
  /** Accepts one connection; returns the fd or -EAGAIN. */
  accept(listener: number): number;
  /** Creates a connected pair of UNIX stream sockets; writes the two fds to `out`. */
  socketpair(out: Int32Array): number;
  /** Sets SO_SNDBUF, beyond net.core.wmem_max where the process may. Returns the bytes that the kernel granted. */
  setSendBuffer(fd: number, bytes: number): number;
  /**
   * `timeoutMs` above 0 makes a socket blocking for {@link receive} with `waitMs` -1, each wait being limited to that
   * time (SO_RCVTIMEO). 0 makes it non-blocking again. Both concern all duplicates of the fd, a peer's included: never
   * do it to what a peer sent.
   */
  setBlocking(fd: number, timeoutMs: number): number;
  /** shutdown(fd, SHUT_RDWR): wakes both ends; the fd stays open. */
  shutdown(fd: number): number;
  /** shutdown(fd) of one direction: 0 (SHUT_RD) refuses what the peer sends from now on, 1 (SHUT_WR) ends our output. */
  shutdownHalf(fd: number, how: 0 | 1): number;

  /**
   * One recvmsg of at most `length` bytes into `into[offset...]`. `fds[0]` becomes the number of fds received, which
   * follow from `fds[1]`. When the control data was truncated or there were more than fit, all received fds are
   * closed and -EMSGSIZE is returned. 0 is end of file.
   *
   * `waitMs` 0 does not block. A positive value blocks for at most that long and then returns -EAGAIN; while data is
   * there already it costs no additional system call, a wait costs two. -1 blocks as {@link setBlocking} arranged,
   * always in one system call.
   */
  receive(
    fd: number,
    into: Uint8Array,
    offset: number,
    length: number,
    fds: Int32Array,
    waitMs: number,
  ): number;
  /**
   * One sendmsg of `head[0...headLength]` followed by `body[bodyOffset...bodyOffset + bodyLength]` (or null), with
   * `fds` attached (or null). MSG_NOSIGNAL, MSG_DONTWAIT. Returns the bytes taken, which may be fewer; -EAGAIN when none.
   */
  send(
    fd: number,
    head: Uint8Array,
    headOffset: number,
    headLength: number,
    body: Uint8Array | null,
    bodyOffset: number,
    bodyLength: number,
    fds: readonly number[] | null,
  ): number;
  /**
   * poll(2) over `count` triples (fd, events, revents) in `set`; fills in revents. Returns the number of ready fds.
   * Blocks the thread for at most `timeoutMs` (-1 for ever).
   */
  poll(set: Int32Array, count: number, timeoutMs: number): number;

  /**
   * Serves a socket on a thread that blocks: receives, calls back and sends like a pump, again and again, for at most
   * `limit` messages and no longer than `control` allows after the first. `waitMs` as in {@link receive}, for each of
   * them; a wait may begin with a spin. Returns how many results were reported: 0 when none came in time, and fewer
   * than `limit` also after the end of file, an error, or a callback that set RX_LENGTH to 0. No promise jobs run
   * inside; what a callback throws is passed on at once.
   */
  exchange(
    fd: number,
    rx: Uint8Array,
    tx: Uint8Array,
    fds: Int32Array,
    control: Int32Array,
    onReceive: (result: number) => void,
    onWritable: () => void,
    waitMs: number,
    limit: number,
  ): number;

  /**
   * Starts serving a socket on the event loop. On every wake-up the pump receives once into `rx` where `control` says
   * (see Control; what lies outside of `rx` is reported as -EINVAL) and calls `onReceive(result)`, result being what
   * {@link receive} returns; the fds are in `fds`. Then it sends what `control` says of `tx`, with one call; when that
   * fails or takes only a part, it calls `onWritable`, whose own {@link send} learns why. After that it looks for the
   * next message, spinning for the time that `control` allows, before it returns to the loop; the spin backs off when
   * it does not pay, and gives way to immediates. -EAGAIN is never reported. After 0 (end of file) or an error it
   * stops receiving by itself. `onWritable` is also called whenever the socket is writable while asked for by
   * {@link pumpArm}. Both callbacks run in a callback scope, so promise jobs and ticks run after each, and before what
   * they left is sent. What they throw becomes an 'uncaughtException', and the pump goes on.
   *
   * The pump keeps the addresses of `rx`, `tx`, `fds` and `control`: their buffers must not be transferred before
   * {@link pumpClose}. -EEXIST when the loop watches the fd already.
   */
  pumpStart(
    fd: number,
    rx: Uint8Array,
    tx: Uint8Array,
    fds: Int32Array,
    control: Int32Array,
    onReceive: (result: number) => void,
    onWritable: () => void,
  ): PumpHandle | number;
  /**
   * Chooses what the pump waits for. Call it after RX_LENGTH went from 0 to more, or to wait for writability. Costs
   * a system call only when the choice changes; without effect after {@link pumpClose}.
   */
  pumpArm(pump: PumpHandle, readable: boolean, writable: boolean): number;
  /** Stops the pump for good; safe inside its callbacks and when repeated. Does not close the fd. */
  pumpClose(pump: PumpHandle): void;

  /**
   * Calls `onReadable` on the event loop for as long as `fd` (a listener, an eventfd) is readable or in error.
   * -EPERM for what can't be polled, such as a regular file.
   */
  watchStart(fd: number, onReadable: () => void): WatchHandle | number;
  /** Stops a watch for good; safe inside its callback and when repeated. Does not close the fd. */
  watchClose(watch: WatchHandle): void;
  /** Lets the process exit while only unreferenced watches and pumps are left (true = reference again). */
  setReferenced(handle: PumpHandle | WatchHandle, referenced: boolean): void;

  /** memfd_create with CLOEXEC and ALLOW_SEALING, sized and, if asked, sealed against shrinking. Returns the fd. */
  memfd(name: string, size: number, sealShrink: boolean): number;
  /** Adds F_SEAL_SHRINK to a memfd somebody gave us; -EINVAL or -EPERM where that can't be done. */
  sealShrink(fd: number): number;
  /**
   * mmap MAP_SHARED of `length` bytes at `offset`; `protection` 1 read, 2 write, 3 both. -EFBIG beyond the runtime's
   * largest Buffer (4 GiB in Node 20). A mapping that is dropped is unmapped when it is collected; one that is still
   * there when its thread ends turns into zero pages.
   */
  map(fd: number, offset: number, length: number, protection: number): ArrayBuffer | number;
  /**
   * Detaches `buffer` and unmaps it at once. Idempotent. When somebody transferred the buffer away (it is already
   * detached), the range is replaced by anonymous zero pages instead, because a live buffer may still point there.
   */
  unmap(buffer: ArrayBuffer): number;
  /**
   * From now on a touch beyond the end of a mapped file reads and writes zero pages instead of killing the process.
   * Covers only ranges mapped through {@link map}; other faults go to the previous handler. Idempotent.
   */
  guardMappings(): number;
  /** How many faults {@link guardMappings} has absorbed: a peer that shrank its memory. */
  guardedFaults(): number;
  /** pread of `length` bytes at file position `position`, which is exact: a safe integer, or a bigint below 2^63. */
  pread(fd: number, into: Uint8Array, offset: number, length: number, position: number | bigint): number;
  /** pwrite; unlike fs.writeSync, which writes at the file's own position when it is given a bigint. */
  pwrite(fd: number, from: Uint8Array, offset: number, length: number, position: number | bigint): number;

  /**
   * ioctl(2). `argument` is a value, or the structure to pass by its address. When there is a `pointee`, its address is
   * put at `at` of the structure first (8 bytes). Returns what the kernel returned.
   */
  ioctl(
    fd: number,
    request: number,
    argument: Uint8Array | number,
    pointee: Uint8Array | DmaMemory | null,
    at: number,
  ): number;
  /** The same on another thread, for what may take long. The arrays must not be transferred or changed meanwhile. */
  ioctlLater(
    fd: number,
    request: number,
    argument: Uint8Array | number,
    pointee: Uint8Array | DmaMemory | null,
    at: number,
  ): Promise<number>;
  /** read(2) at the file's own position, on another thread. `into` must not be transferred meanwhile. */
  readLater(fd: number, into: Uint8Array): Promise<number>;
  /** write(2), as {@link readLater}. */
  writeLater(fd: number, from: Uint8Array): Promise<number>;
  /**
   * mmap MAP_SHARED for the IOMMU: an address that stays valid until {@link unmapForDma}, whatever becomes of the
   * handle, for as long as the process lives. Not reachable from JavaScript. `access` 1 read, 2 write, 3 both.
   */
  mapForDma(fd: number, offset: number | bigint, length: number, access: number): DmaMemory | number;
  /** munmap. Only when nothing can reach the memory any more. Idempotent. */
  unmapForDma(memory: DmaMemory): number;

  /** CRC-32 as zlib computes it, continued from `seed` (0 to begin); several times as fast as node:zlib's. */
  crc32(data: Uint8Array, seed: number): number;
  /**
   * Copies `source` to `target` from `offset` on, and returns the CRC-32 of what it copied, as {@link crc32}: in one pass
   * over memory, and true of the copy even if the source changes meanwhile. They must not overlap.
   */
  crc32Copy(target: Uint8Array, offset: number, source: Uint8Array, seed: number): number;

  /**
   * Has the C library keep freed memory, up to 64 MiB, for what is allocated next, and map buffers of their own from
   * 4 MiB on; for the whole process, and without effect where that library is not glibc. Left alone it gives memory back
   * to the kernel and asks for it anew whenever more than 128 KiB are free at the end of its heap, which can cost a
   * process that gets a buffer for every 16 KiB that it reads a third of its time.
   */
  keepHeap(): void;

  /** eventfd with CLOEXEC and NONBLOCK. */
  eventfd(initial: number): number;
  /**
   * Adds `value` to the eventfd, whose flags stay as they are. -EAGAIN when the counter is full: a `value` of 1 then
   * tells its reader nothing new. A larger one may wait for room in an eventfd that is blocking. Works for any fd that
   * takes 8 bytes.
   */
  eventfdSignal(fd: number, value: number): number;
  /** Reads and clears the counter: the count (clamped to 2^31 - 1) or -EAGAIN; never waits, whatever the fd's flags. */
  eventfdRead(fd: number): number;

  /** close(2); the result matters only to tests. */
  close(fd: number): number;
  /** dup with CLOEXEC. */
  dup(fd: number): number;
  /**
   * Takes the exclusive lock of a file (flock) without waiting: -EAGAIN while another open file description has it,
   * in this process or any other. It goes when the fd and its duplicates are closed, by whatever ends the process.
   */
  flock(fd: number): number;
  /**
   * A new pseudo-terminal in raw mode (pty(7)): its master, with CLOEXEC and NONBLOCK, and the path of its slave. The
   * master reports a hang-up while nobody has the slave open, and works again when somebody has.
   */
  pseudoTerminal(): { readonly fd: number; readonly path: string } | number;
  /** The peer's pid, uid and gid (SO_PEERCRED) into `out[0..2]`. */
  peerCredentials(fd: number, out: Int32Array): number;
}

declare const pump: unique symbol;
declare const watch: unique symbol;
declare const dmaMemory: unique symbol;
/** An opaque pump. */
export interface PumpHandle {
  readonly [pump]: true;
}
/** An opaque watch. */
export interface WatchHandle {
  readonly [watch]: true;
}
/** Memory at an address that is reserved for DMA. */
export interface DmaMemory {
  readonly [dmaMemory]: true;
}

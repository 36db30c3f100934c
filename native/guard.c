/*
 * The SIGBUS guard. A peer that shrinks a file under our mapping makes the next touch raise SIGBUS, which would kill
 * the process. The handler maps an anonymous zero page over the page that faulted, if it lies in a range that we
 * mapped, and lets the instruction run again. Everything else goes to the handler that was there before.
 *
 * The table of ranges is the addon's only process-wide state. Writers hold a mutex. The handler may run on any thread
 * at any time, so it takes no lock: chunks are never freed, and a slot is published by storing its start last.
 */
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "ferry.h"

enum { RANGES_PER_CHUNK = 128 };

struct range {
  atomic_uintptr_t start; /* 0: the slot is free */
  atomic_uintptr_t end;
  atomic_size_t page; /* what one fault replaces: a huge page where the file has those */
  atomic_int protection;
  struct range *next_free;
};

struct chunk {
  struct range ranges[RANGES_PER_CHUNK];
  struct chunk *next;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static _Atomic(struct chunk *) chunks;
static struct range *free_ranges;
static struct sigaction previous;
static bool installed;
static atomic_uint faults;

static bool add_chunk(void) {
  struct chunk *chunk = calloc(1, sizeof *chunk);
  if (!chunk) return false;
  for (size_t i = 0; i < RANGES_PER_CHUNK; i++) {
    chunk->ranges[i].next_free = free_ranges;
    free_ranges = &chunk->ranges[i];
  }
  chunk->next = atomic_load(&chunks);
  atomic_store(&chunks, chunk);
  return true;
}

struct range *guard_add(uintptr_t start, size_t length, int protection, size_t page) {
  struct range *range = NULL;
  pthread_mutex_lock(&lock);
  if (free_ranges || add_chunk()) {
    range = free_ranges;
    free_ranges = range->next_free;
    atomic_store(&range->end, start + length);
    atomic_store(&range->page, page);
    atomic_store(&range->protection, protection);
    atomic_store(&range->start, start);
  }
  pthread_mutex_unlock(&lock);
  return range;
}

void guard_remove(struct range *range) {
  pthread_mutex_lock(&lock);
  atomic_store(&range->start, 0);
  range->next_free = free_ranges;
  free_ranges = range;
  pthread_mutex_unlock(&lock);
}

/* Async-signal-safe: atomics and mmap only. */
static bool absorb(struct range *range, uintptr_t address) {
  uintptr_t start = atomic_load(&range->start);
  if (start == 0 || address < start) return false;
  uintptr_t end = atomic_load(&range->end);
  size_t page = atomic_load(&range->page);
  int protection = atomic_load(&range->protection);
  /* Reading start again refuses a slot that changed hands meanwhile. */
  if (address >= end || atomic_load(&range->start) != start) return false;
  void *at = (void *)(address & ~(uintptr_t)(page - 1));
  if (mmap(at, page, protection, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED) return false;
  atomic_fetch_add(&faults, 1);
  return true;
}

static bool absorb_anywhere(uintptr_t address) {
  for (struct chunk *chunk = atomic_load(&chunks); chunk; chunk = chunk->next) {
    for (size_t i = 0; i < RANGES_PER_CHUNK; i++) {
      if (absorb(&chunk->ranges[i], address)) return true;
    }
  }
  return false;
}

static void pass_on(int number, siginfo_t *info, void *context) {
  if (previous.sa_flags & SA_SIGINFO) {
    previous.sa_sigaction(number, info, context);
  } else if (previous.sa_handler != SIG_DFL && previous.sa_handler != SIG_IGN) {
    previous.sa_handler(number);
  } else if (previous.sa_handler == SIG_DFL || info->si_code > 0) {
    /* The default ends the process, also for a real fault that was to be ignored, as the kernel would. */
    signal(number, SIG_DFL);
    raise(number);
  }
}

static void on_bus_error(int number, siginfo_t *info, void *context) {
  int saved = errno;
  /* BUS_ADRERR: beyond the end of the file; kill(2) and broken memory have other codes (sigaction(2)). */
  if (info->si_code != BUS_ADRERR || !absorb_anywhere((uintptr_t)info->si_addr)) pass_on(number, info, context);
  errno = saved;
}

int guard_install(void) {
  struct sigaction action = {.sa_sigaction = on_bus_error, .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESTART};
  int result = 0;
  sigemptyset(&action.sa_mask);
  pthread_mutex_lock(&lock);
  if (!installed) {
    /* `previous` must be there before the handler can run. */
    result = sigaction(SIGBUS, NULL, &previous) || sigaction(SIGBUS, &action, NULL) ? -errno : 0;
    installed = result == 0;
  }
  pthread_mutex_unlock(&lock);
  return result;
}

uint32_t guard_faults(void) { return atomic_load(&faults); }

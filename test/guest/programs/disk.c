/*
 * Random direct I/O on a block device, in which each block that is read is checked.
 *
 *     disk DEVICE STOP WORKERS BYTES
 *
 * Each worker has BYTES at the end of the device to itself and knows what is in each of its blocks. It goes on until the
 * file STOP exists, and then reads everything once more. Prints "READS WRITES FLUSHES LONGEST": how many requests there
 * were, and how long the longest of them took in milliseconds.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define BLOCK 512
#define WORDS (BLOCK / sizeof(uint64_t))
/* Most requests are of one page at most, and one of so many is larger: it needs a list of pages. */
#define SMALL_BLOCKS 8
#define LARGE_BLOCKS 500
#define LARGE_EACH 8
/* One of so many clears blocks, and one makes what was written durable. */
#define CLEAR_EACH 32
#define FLUSH_EACH 64

struct result {
	uint64_t reads, writes, flushes, longest_us;
};

struct worker {
	int fd;
	uint64_t first, count;
	/* When each block was written; 0 after it was cleared. */
	uint64_t *written;
	uint64_t writings;
	uint8_t *buffer;
	uint64_t random;
	struct result *result;
};

static void die(const char *what)
{
	fprintf(stderr, "%s: %s\n", what, strerror(errno));
	exit(1);
}

static uint64_t now_us(void)
{
	struct timespec time;
	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec * 1000000ull + time.tv_nsec / 1000;
}

static uint64_t below(struct worker *self, uint64_t limit)
{
	self->random ^= self->random << 13;
	self->random ^= self->random >> 7;
	self->random ^= self->random << 17;
	return self->random % limit;
}

/* What a block contains: its number, when it was written, and what follows from both. */
static void contents(uint64_t *words, uint64_t block, uint64_t written)
{
	if (written == 0) {
		memset(words, 0, BLOCK);
		return;
	}
	uint64_t value = block * 0x9e3779b97f4a7c15ull ^ written * 0xc2b2ae3d27d4eb4full;
	for (unsigned i = 0; i < WORDS; i++)
		words[i] = value + i * 0x165667b19e3779f9ull;
	words[0] = block;
	words[1] = written;
}

static void write_blocks(struct worker *self, uint8_t *at, uint64_t block, uint64_t count)
{
	self->writings++;
	for (uint64_t i = 0; i < count; i++) {
		self->written[block - self->first + i] = self->writings;
		contents((uint64_t *)(at + i * BLOCK), block + i, self->writings);
	}
	if (pwrite(self->fd, at, count * BLOCK, block * BLOCK) != (ssize_t)(count * BLOCK))
		die("write");
	self->result->writes++;
}

static void flush(struct worker *self)
{
	if (fdatasync(self->fd) < 0)
		die("fdatasync");
	self->result->flushes++;
}

static void clear_blocks(struct worker *self, uint64_t block, uint64_t count)
{
	uint64_t range[] = {block * BLOCK, count * BLOCK};
	memset(&self->written[block - self->first], 0, count * sizeof(self->written[0]));
	if (ioctl(self->fd, BLKZEROOUT, range) < 0)
		die("BLKZEROOUT");
	self->result->writes++;
}

static void read_blocks(struct worker *self, uint8_t *at, uint64_t block, uint64_t count)
{
	uint64_t expected[WORDS];
	memset(at, 0xee, count * BLOCK);
	if (pread(self->fd, at, count * BLOCK, block * BLOCK) != (ssize_t)(count * BLOCK))
		die("read");
	self->result->reads++;
	for (uint64_t i = 0; i < count; i++) {
		uint64_t written = self->written[block - self->first + i];
		uint64_t *found = (uint64_t *)(at + i * BLOCK);
		contents(expected, block + i, written);
		if (memcmp(expected, found, BLOCK) == 0)
			continue;
		fprintf(stderr, "block %llu of writing %llu reads as block %llu of writing %llu\n",
			(unsigned long long)(block + i), (unsigned long long)written, (unsigned long long)found[0],
			(unsigned long long)found[1]);
		exit(1);
	}
}

static void request(struct worker *self)
{
	uint64_t most = below(self, LARGE_EACH) ? SMALL_BLOCKS : LARGE_BLOCKS;
	uint64_t count = 1 + below(self, most);
	uint64_t block = self->first + below(self, self->count - count + 1);
	/* Anywhere in a page. */
	uint8_t *at = self->buffer + below(self, 8) * BLOCK;
	uint64_t begun = now_us();
	if (below(self, FLUSH_EACH) == 0)
		flush(self);
	else if (below(self, CLEAR_EACH) == 0)
		clear_blocks(self, block, count);
	else if (below(self, 2))
		write_blocks(self, at, block, count);
	else
		read_blocks(self, at, block, count);
	uint64_t took = now_us() - begun;
	if (took > self->result->longest_us)
		self->result->longest_us = took;
}

static void each_piece(struct worker *self, void (*act)(struct worker *, uint64_t, uint64_t))
{
	for (uint64_t done = 0; done < self->count; done += LARGE_BLOCKS) {
		uint64_t left = self->count - done;
		act(self, self->first + done, left < LARGE_BLOCKS ? left : LARGE_BLOCKS);
	}
}

static void read_piece(struct worker *self, uint64_t block, uint64_t count)
{
	read_blocks(self, self->buffer, block, count);
}

static void work(struct worker *self, const char *stop)
{
	each_piece(self, clear_blocks);
	while (access(stop, F_OK) < 0)
		request(self);
	each_piece(self, read_piece);
	exit(0);
}

/* The last of the device belong to worker 0, what is before to the others. */
static void start(const char *device, const char *stop, int number, uint64_t count, struct result *result)
{
	struct worker self = {
		.fd = open(device, O_RDWR | O_DIRECT),
		.count = count,
		.written = calloc(count, sizeof(uint64_t)),
		.random = 0x1234567 + number * 7919,
		.result = result,
	};
	uint64_t bytes;
	if (self.fd < 0 || ioctl(self.fd, BLKGETSIZE64, &bytes) < 0)
		die(device);
	self.first = bytes / BLOCK - (number + 1) * count;
	if (!self.written || posix_memalign((void **)&self.buffer, 4096, (LARGE_BLOCKS + 8) * BLOCK))
		die("memory");
	work(&self, stop);
}

int main(int argc, char **argv)
{
	if (argc != 5)
		return 2;
	int workers = atoi(argv[3]);
	uint64_t count = strtoull(argv[4], NULL, 0) / BLOCK;
	struct result *results = mmap(NULL, workers * sizeof(struct result), PROT_READ | PROT_WRITE,
				      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (results == MAP_FAILED || count < LARGE_BLOCKS)
		return 2;
	for (int number = 0; number < workers; number++) {
		if (fork() == 0)
			start(argv[1], argv[2], number, count, &results[number]);
	}
	int status, failed = 0;
	while (wait(&status) > 0)
		failed |= status;
	struct result sum = {0};
	for (int number = 0; number < workers; number++) {
		sum.reads += results[number].reads;
		sum.writes += results[number].writes;
		sum.flushes += results[number].flushes;
		if (results[number].longest_us > sum.longest_us)
			sum.longest_us = results[number].longest_us;
	}
	printf("%llu %llu %llu %llu\n", (unsigned long long)sum.reads, (unsigned long long)sum.writes,
	       (unsigned long long)sum.flushes, (unsigned long long)sum.longest_us / 1000);
	return failed != 0;
}

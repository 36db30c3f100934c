/*
 * Reads the configuration space of a device again and again, each 4 bytes at a time, and checks its ids.
 *
 *     config FILE STOP
 *
 * Goes on until the file STOP exists; prints how often it has read all of it.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define HEADER 64
#define PAUSE_US 5000

int main(int argc, char **argv)
{
	unsigned rounds = 0;
	uint32_t ids = 0, word;
	int fd = argc == 3 ? open(argv[1], O_RDONLY) : -1;
	if (fd < 0 || pread(fd, &ids, sizeof(ids), 0) != sizeof(ids))
		return 2;
	for (; access(argv[2], F_OK) < 0; rounds++) {
		for (unsigned at = 0; at < HEADER; at += sizeof(word)) {
			if (pread(fd, &word, sizeof(word), at) != sizeof(word)) {
				fprintf(stderr, "read at %u: %s\n", at, strerror(errno));
				return 1;
			}
			if (at == 0 && word != ids) {
				fprintf(stderr, "the ids read as %08x, and were %08x\n", word, ids);
				return 1;
			}
		}
		usleep(PAUSE_US);
	}
	printf("%u\n", rounds);
	return 0;
}

/* Pseudo-terminals (pty(7)). */
#include <fcntl.h>
#include <stdlib.h>
#include <termios.h>
#include <unistd.h>

#include "arguments.h"

/*
 * Raw settings outlive the descriptor that makes them, as long as the master is open. Opening the slave and closing it
 * again is what makes the master report a hang-up until somebody else opens it.
 */
static int make_raw(const char *slave) {
  struct termios settings;
  int result = 0, fd = open(slave, O_RDWR | O_NOCTTY | O_CLOEXEC);
  if (fd < 0) return -errno;
  if (tcgetattr(fd, &settings)) {
    result = -errno;
  } else {
    cfmakeraw(&settings);
    if (tcsetattr(fd, TCSANOW, &settings)) result = -errno;
  }
  close(fd);
  return result;
}

/* The slave's path goes to `name`; the master is returned, or a negated errno. */
static int open_terminal(char *name, size_t size) {
  int error, master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
  if (master < 0) return -errno;
  if (grantpt(master) || unlockpt(master)) {
    error = -errno;
  } else {
    error = -ptsname_r(master, name, size);
    if (error == 0) error = make_raw(name);
  }
  if (error == 0) return master;
  close(master);
  return error;
}

static napi_value pseudo_terminal(napi_env env, napi_callback_info info) {
  char name[64];
  napi_value path, result, fd;
  (void)info;
  int master = open_terminal(name, sizeof name);
  if (master < 0) return number(env, master);
  if (napi_create_object(env, &result) == napi_ok &&
      napi_create_string_utf8(env, name, NAPI_AUTO_LENGTH, &path) == napi_ok &&
      napi_create_int32(env, master, &fd) == napi_ok &&
      napi_set_named_property(env, result, "fd", fd) == napi_ok &&
      napi_set_named_property(env, result, "path", path) == napi_ok)
    return result;
  close(master);
  return number(env, -ENOMEM);
}

const struct function terminal_functions[] = {{"pseudoTerminal", pseudo_terminal}};
const size_t terminal_function_count = sizeof terminal_functions / sizeof *terminal_functions;

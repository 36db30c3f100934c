/*
 * The few functions of libuv that the addon calls. Node exports libuv's symbols but node-api-headers does not
 * carry uv.h, so they are declared here. Only the stable ABI of libuv 1.x is used: handles are opaque, their memory
 * is sized at run time by uv_handle_size(), and the module checks at load that UV_POLL still names "poll".
 */
#ifndef FERRY_LIBUV_H
#define FERRY_LIBUV_H

#include <stddef.h>

typedef struct uv_loop_s uv_loop_t;
typedef struct uv_handle_s uv_handle_t;
typedef struct uv_poll_s uv_poll_t;
typedef void (*uv_close_cb)(uv_handle_t *handle);
typedef void (*uv_poll_cb)(uv_poll_t *handle, int status, int events);

enum { UV_POLL = 8 };                       /* enum uv_handle_type */
enum { UV_READABLE = 1, UV_WRITABLE = 2 };  /* enum uv_poll_event */

extern size_t uv_handle_size(int type);
extern const char *uv_handle_type_name(int type);
extern void *uv_handle_get_data(const uv_handle_t *handle);
extern void uv_handle_set_data(uv_handle_t *handle, void *data);
extern void uv_ref(uv_handle_t *handle);
extern void uv_unref(uv_handle_t *handle);
extern void uv_close(uv_handle_t *handle, uv_close_cb closed);
extern int uv_backend_timeout(const uv_loop_t *loop);
extern int uv_poll_init(uv_loop_t *loop, uv_poll_t *handle, int fd);
extern int uv_poll_start(uv_poll_t *handle, int events, uv_poll_cb callback);
extern int uv_poll_stop(uv_poll_t *handle);

#endif

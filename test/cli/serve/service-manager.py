"""A service manager as far as a service with --fd-store sees it (sd_notify(3), sd_listen_fds(3)).

    service-manager.py SOCKET COMMAND...

Runs the command with $NOTIFY_SOCKET, keeps the descriptors that it leaves, and gives them to the next one. Lines on
standard input: "restart" ends the service by SIGTERM and starts it anew, "restart COMMAND..." the same with another command
(words are separated by tabs), "deaf" has it ignore what the service says until "hearing", "term" asks the
service to end, "kill" kills it and starts it anew (Restart=always), "exit" ends it and the manager. Each thing that
happens is a line on standard output.
"""

import array
import os
import signal
import socket
import sys
import threading

FIRST_FD = 3
path = sys.argv[1]
command = sys.argv[2:]
stored = []
deaf = threading.Event()
manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
manager.bind("\0" + path[1:] if path.startswith("@") else path)


def say(line):
    # One write: the service writes to the same pipe, and print() takes two when Python does not buffer.
    os.write(1, f"{line}\n".encode())


def start():
    pid = os.fork()
    if pid:
        return pid
    names = ":".join(name for name, _ in stored)
    environment = dict(os.environ, NOTIFY_SOCKET=path, FDSTORE="1")
    if stored:
        environment.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(len(stored)), LISTEN_FDNAMES=names)
    # Out of the way of where they go.
    high = [os.dup(fd) for _, fd in stored]
    for at, fd in enumerate(high):
        os.dup2(fd, FIRST_FD + at)
        os.set_inheritable(FIRST_FD + at, True)
    os.execve(command[0], command, environment)


def hear():
    while True:
        data, ancillary, _, _ = manager.recvmsg(4096, socket.CMSG_SPACE(4 * 253))
        fds = array.array("i")
        for level, kind, content in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                fds.frombytes(content)
        if deaf.is_set():
            # The descriptors stay open, as with a manager that has stopped.
            continue
        understand(dict(line.split("=", 1) for line in data.decode().splitlines()), list(fds))


def understand(said, fds):
    global stored
    name = said.get("FDNAME", "stored")
    if "FDSTOREREMOVE" in said:
        for _, fd in [one for one in stored if one[0] == name]:
            os.close(fd)
        stored = [one for one in stored if one[0] != name]
    if "FDSTORE" in said and len(stored) < 1:
        stored += [(name, fd) for fd in fds]
        fds = []
        say(f"stored {name} {said.get('FDPOLL')}")
    for fd in fds:
        os.close(fd)
    if "READY" in said:
        say(f"ready {said.get('MAINPID')}")


def end(pid, how=signal.SIGTERM):
    os.kill(pid, how)
    _, status = os.waitpid(pid, 0)
    say(f"ended {os.waitstatus_to_exitcode(status)}")


threading.Thread(target=hear, daemon=True).start()
service = start()
for line in sys.stdin:
    what, *words = line.rstrip("\n").split("\t")
    if what == "deaf":
        deaf.set()
        say("deaf")
    elif what == "term":
        os.kill(service, signal.SIGTERM)
    elif what == "hearing":
        deaf.clear()
        say("hearing")
    elif what == "restart":
        end(service)
        command = words or command
        service = start()
    elif what == "kill":
        end(service, signal.SIGKILL)
        service = start()
    elif what == "exit":
        break
os.kill(service, signal.SIGKILL)
os.waitpid(service, 0)

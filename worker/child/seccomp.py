"""System calls that an evaluation has no use for, taken from it for good by the kernel's filter.

What torch, OpenMP and a GPU's driver call changes from release to release, so the filter names what is refused: new
processes and programs, sockets, other processes' memory and signals, mounts, namespaces, keys, and whatever asks the
kernel for more than files, memory and threads.

Source:
    https://docs.kernel.org/userspace-api/seccomp_filter.html; numbers from the kernel's syscall tables.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
from dataclasses import dataclass
from types import MappingProxyType

# Name, then the number on x86-64 and on 64-bit ARM; a dash where there is none.
_REFUSED = """
socket 41 198           socketpair 53 199       fork 57 -               vfork 58 -             execve 59 221
execveat 322 281        ptrace 101 117          process_vm_readv 310 270                       process_vm_writev 311 271
process_madvise 440 440 kcmp 312 272            pidfd_open 434 434      pidfd_getfd 438 438    pidfd_send_signal 424 424
tkill 200 130           rt_sigqueueinfo 129 138 rt_tgsigqueueinfo 297 240
unshare 272 97          setns 308 268           mount 165 40            umount2 166 39         pivot_root 155 41
chroot 161 51           open_tree 428 428       move_mount 429 429      fsopen 430 430         fsconfig 431 431
fsmount 432 432         fspick 433 433          mount_setattr 442 442   name_to_handle_at 303 264
open_by_handle_at 304 265                       mknod 133 -             mknodat 259 33         quotactl 179 60
keyctl 250 219          add_key 248 217         request_key 249 218     bpf 321 280            perf_event_open 298 241
userfaultfd 323 282     io_uring_setup 425 425  io_uring_enter 426 426  io_uring_register 427 427
init_module 175 105     finit_module 313 273    delete_module 176 106   kexec_load 246 104
kexec_file_load 320 294 reboot 169 142          swapon 167 224          swapoff 168 225        acct 163 89
syslog 103 116          sethostname 170 161     setdomainname 171 162   settimeofday 164 170   clock_settime 227 112
adjtimex 159 171        clock_adjtime 305 266   personality 135 92      vhangup 153 58         fanotify_init 300 262
iopl 172 -              ioperm 173 -            modify_ldt 154 -        lookup_dcookie 212 18  memfd_secret 447 447
shmget 29 194           semget 64 190           msgget 68 186           mq_open 240 180
"""

_LOAD, _JUMP_EQUAL, _JUMP_AT_LEAST, _JUMP_ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_NUMBER_AT, _ARCHITECTURE_AT, _FIRST_ARGUMENT_AT = 0, 4, 16
_ALLOW, _ERROR, _KILL_PROCESS = 0x7FFF0000, 0x00050000, 0x80000000
_CLONE_THREAD = 0x00010000
_X32_SINCE = 0x40000000
_PR_SET_SECCOMP, _MODE_FILTER = 22, 2


@dataclass(frozen=True)
class _Architecture:
    audit: int
    column: int
    clone: int
    clone3: int
    kill: int
    tgkill: int


_ARCHITECTURES = MappingProxyType(
    {
        "x86_64": _Architecture(0xC000003E, 1, clone=56, clone3=435, kill=62, tgkill=234),
        "aarch64": _Architecture(0xC00000B7, 2, clone=220, clone3=435, kill=129, tgkill=131),
    }
)


class _Instruction(ctypes.Structure):
    _fields_ = (("code", ctypes.c_uint16), ("yes", ctypes.c_uint8), ("no", ctypes.c_uint8), ("value", ctypes.c_uint32))


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_uint16), ("instructions", ctypes.POINTER(_Instruction)))


def restrict() -> bool:
    """Put the filter on this process and on all threads that it starts; for good.

    The process must have given up gaining privileges before, and have no other threads yet.

    Returns:
        Whether it was put on: the numbers of system calls are known for two kinds of processors.
    Raises:
        OSError: the kernel refuses.
    """
    architecture = _ARCHITECTURES.get(platform.machine())
    if architecture is None:
        return False
    instructions = _instructions(architecture)
    content = (_Instruction * len(instructions))(*instructions)
    filter_program = _Program(len(instructions), ctypes.cast(content, ctypes.POINTER(_Instruction)))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_SECCOMP, _MODE_FILTER, ctypes.byref(filter_program), 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "the kernel takes no filter of system calls")
    return True


def _instructions(architecture: _Architecture) -> list[_Instruction]:
    refuse = _Instruction(_RETURN, 0, 0, _ERROR | errno.EPERM)
    allow = _Instruction(_RETURN, 0, 0, _ALLOW)
    found = [
        _Instruction(_LOAD, 0, 0, _ARCHITECTURE_AT),
        # The numbers below mean something else to a process of another architecture.
        _Instruction(_JUMP_EQUAL, 1, 0, architecture.audit),
        _Instruction(_RETURN, 0, 0, _KILL_PROCESS),
        _Instruction(_LOAD, 0, 0, _NUMBER_AT),
        _Instruction(_JUMP_AT_LEAST, 0, 1, _X32_SINCE),
        _Instruction(_RETURN, 0, 0, _KILL_PROCESS),
        # Its flags are in memory, which a filter cannot read; the C library then takes the older clone.
        _Instruction(_JUMP_EQUAL, 0, 1, architecture.clone3),
        _Instruction(_RETURN, 0, 0, _ERROR | errno.ENOSYS),
        _Instruction(_JUMP_EQUAL, 0, 4, architecture.clone),
        _Instruction(_LOAD, 0, 0, _FIRST_ARGUMENT_AT),
        _Instruction(_JUMP_ANY_BIT, 0, 1, _CLONE_THREAD),
        allow,
        refuse,
    ]
    for number in (architecture.kill, architecture.tgkill):
        found += [
            _Instruction(_JUMP_EQUAL, 0, 4, number),
            _Instruction(_LOAD, 0, 0, _FIRST_ARGUMENT_AT),
            _Instruction(_JUMP_EQUAL, 0, 1, os.getpid()),
            allow,
            refuse,
        ]
    for number in _refused(architecture.column):
        found += [_Instruction(_JUMP_EQUAL, 0, 1, number), refuse]
    return [*found, allow]


def _refused(column: int) -> list[int]:
    words = _REFUSED.split()
    numbers = words[column::3]
    return [int(number) for number in numbers if number != "-"]

"""Generators that run ahead in processes of their own, for what holds the GIL: decoding, parsing, augmenting in Python.

An executor gives one result for each task, and any worker may take the next task: a running generator, which lives in one
process and must be asked again and again, cannot be had from it. So each process here serves many visits of streams over a
pair of pipes. It is asked for so and so many items of a visit, and answers the requests in turn, each with a chunk of items.
At most two chunks of a visit are asked for and not yet begun: that bounds what is made ahead, and nothing else has to. Which
process serves a visit changes only when its items are there, never what they are or which comes next.

Processes are started as loky starts them: without running the caller's main module again, so that scripts need no guard, and
with functions of that module, lambdas and closures sent by value.
"""

from __future__ import annotations

import itertools
import multiprocessing
import os
import pickle
import signal
import threading
import time
import traceback
from collections import deque
from collections.abc import Iterator, Sequence
from multiprocessing import util
from multiprocessing.connection import wait
from queue import SimpleQueue
from typing import Any

from joblib.externals.loky.backend import get_context

try:
    from joblib.externals.cloudpickle import dumps
except ImportError:  # since joblib 1.6 it is a dependency of joblib, no part
    from cloudpickle import dumps

from ._interrupts import get_from
from ._passes import close
from ._streamer import Streamer

_CHUNK_ITEMS = 256
_CHUNK_BYTES = 2**20
_CHUNK_SECONDS = 0.02
_IDLE_SECONDS = 10.0
_GRACE_SECONDS = 1.0  # for a generator to be closed, before its process is ended


def in_processes(streams: Sequence[Streamer], names: Sequence[str], n_processes: int) -> list[Streamer]:
    """Return streams that give the same items, made in at most ``n_processes`` other processes.

    Raises
    ------
    TypeError
        If a stream cannot be pickled, or reads samples by the block: the error names it. Nothing has been started then.
    """
    plain = [stream._stream if isinstance(stream, ProcessStream) else stream for stream in streams]
    for position, (stream, name) in enumerate(zip(plain, names, strict=True)):
        if stream._one_cursor:
            raise TypeError(
                f"prefetch={n_processes}: stream {name!r} at position {position} gives samples of arrays or files by the block, "
                "which needs no other process. Leave prefetch= of the pool out; functions that read files have one of their own."
            )
    _refuse_unpicklable(plain, names)
    processes = Processes(plain, names, n_processes)
    return [ProcessStream(stream, processes, position) for position, stream in enumerate(plain)]


def _refuse_unpicklable(streams: Sequence[Streamer], names: Sequence[str]) -> None:
    try:
        _measure(streams)
    except Exception:
        for position, (stream, name) in enumerate(zip(streams, names, strict=True)):
            try:
                _measure(stream)
            except Exception as error:
                raise TypeError(
                    f"stream {name!r} at position {position}, {stream!r}, cannot be sent to another process: {error}. Let its "
                    "function open files, connections and locks itself, from paths and names that it is given; or leave "
                    "prefetch= out."
                ) from error
        raise


def _measure(streams: Any) -> None:
    """Pickle without copying the arrays."""
    dumps(streams, protocol=5, buffer_callback=lambda _: None)


class ProcessStream(Streamer):
    """A stream whose items are made in another process."""

    def __init__(self, stream: Streamer, processes: Processes, position: int) -> None:
        super().__init__(stream)
        self._stream = stream
        self._processes = processes
        self._position = position

    def _start(self, seed: int | None, visit: tuple[int, ...]) -> Iterator:
        if multiprocessing.current_process().daemon:  # it may not have processes of its own
            return self._stream._start(seed, visit)
        return self._processes.run(self._position, seed, visit)

    def __repr__(self) -> str:
        return repr(self._stream)


class Processes:
    """At most ``n`` processes that serve the visits of some streams.

    They are started when they are needed, and end when nothing was read for ten seconds, when the streams are no longer
    there, or with the interpreter.
    """

    def __init__(self, streams: Sequence[Streamer], names: Sequence[str], n: int) -> None:
        self._streams = list(streams)
        self._names = tuple(names)
        self._n = min(n, len(self._streams))
        self.__setstate__({})

    def __getstate__(self) -> dict[str, Any]:
        return {name: self.__dict__[name] for name in ("_streams", "_names", "_n")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._workers: list[Worker] = []

    def run(self, position: int, seed: int | None, visit: tuple[int, ...]) -> Iterator:
        """Yield the items of a visit."""
        if self._pid != os.getpid():  # a fork: the processes are the parent's
            self.__setstate__({})
        worker, number, chunks = self._open(position, seed, visit)
        n_items = 0
        try:
            while True:
                if self._pid != os.getpid():
                    raise RuntimeError("this process was forked while a stream was read: start it anew in the child.")
                items, end = get_from(chunks)
                if end is None:
                    n_items += len(items)  # so, an early end of the visit wastes no more than three beyond what it used
                    worker.send("more", number, min(1 + n_items // 4, _CHUNK_ITEMS))
                while items:
                    yield pickle.loads(items.popleft())
                if end is not None:
                    break
        finally:
            worker.close(number)
        if end:
            error = pickle.loads(end)
            error.add_note(f"raised in a process of its own by stream {self._names[position]!r}")
            raise error

    def _open(self, position: int, seed: int | None, visit: tuple[int, ...]) -> tuple[Worker, int, SimpleQueue]:
        with self._lock:
            while True:
                self._workers = [worker for worker in self._workers if not worker.ended]
                if len(self._workers) < self._n:  # all at once: they take their time to start
                    pickled = dumps(self._streams, protocol=5)
                    self._workers += [Worker(self, pickled) for _ in range(self._n - len(self._workers))]
                worker = min(self._workers, key=lambda worker: worker.n_visits)
                if (opened := worker.open(position, seed, visit)) is not None:
                    return worker, *opened


class Worker:
    """A process, as its parent sees it.

    A thread takes what the process sends: it never has to wait for a reader, and so always comes to read what it is asked. An
    interrupt, which only the main thread gets, cannot cut a message in two either. The thread ends with the process, and sees
    to it that none is left behind.
    """

    def __init__(self, owner: Processes, streams: bytes) -> None:
        context = get_context("loky")
        requests, self._requests = context.Pipe(duplex=False)
        self._replies, replies = context.Pipe(duplex=False)
        self._process = context.Process(target=serve, args=(requests, replies), name="streamlearn", daemon=False)
        self._process.start()
        requests.close()
        replies.close()
        self.ended = False
        self._pid = os.getpid()
        self._numbers = itertools.count()
        self._visits: dict[int, SimpleQueue] = {}
        self._last_use = time.monotonic()
        self._lock = threading.Lock()
        self._sending = threading.Lock()
        self._outbox: deque[bytes] = deque([streams])
        self._thread = threading.Thread(target=self._listen, name="streamlearn-processes", daemon=True)
        self._thread.start()
        # before multiprocessing waits, at the end of the interpreter, for all processes to end
        self._finalizer = util.Finalize(owner, self._stop, exitpriority=10)
        self._flush()

    @property
    def n_visits(self) -> int:
        return len(self._visits)

    def open(self, position: int, seed: int | None, visit: tuple[int, ...]) -> tuple[int, SimpleQueue] | None:
        """Begin a visit; return its number and where its chunks arrive, or None: the process has ended."""
        with self._lock:
            if self.ended:
                return None
            number = next(self._numbers)
            chunks = self._visits[number] = SimpleQueue()
        self.send("open", number, position, seed, visit)
        for _ in range(2):
            self.send("more", number, 1)
        return number, chunks

    def close(self, number: int) -> None:
        """End a visit."""
        self._visits.pop(number, None)
        self._last_use = time.monotonic()
        self.send("close", number)

    def send(self, *message: Any) -> None:
        self._outbox.append(pickle.dumps(message))
        self._flush()

    def _flush(self) -> None:
        """Send what waits, unless that is under way: garbage collection may end a visit in the midst of sending."""
        while self._outbox and self._pid == os.getpid() and self._sending.acquire(blocking=False):
            try:
                while self._outbox:
                    self._requests.send_bytes(self._outbox.popleft())
            except OSError:  # the process is dead, which the thread tells every visit
                self._outbox.clear()
            finally:
                self._sending.release()

    def _stop(self) -> None:
        """Let the process end. The interpreter must wait for it; garbage collection must not."""
        self.send("stop")
        if util.is_exiting():
            self._thread.join(3 * _GRACE_SECONDS)

    def _listen(self) -> None:
        """Hand out what the process sends, until it ends."""
        try:
            while True:
                if self._replies.poll(min(_IDLE_SECONDS, 1.0)):
                    number, items, end = pickle.loads(self._replies.recv_bytes())
                    if (chunks := self._visits.get(number)) is not None:
                        chunks.put((deque(items), end))
                elif time.monotonic() - self._last_use > _IDLE_SECONDS:
                    with self._lock:
                        self.ended = not self._visits
                    if self.ended:
                        self.send("stop")
        except Exception:  # the end of the process, mostly; whatever it is, visits must not wait for ever
            pass
        with self._lock:
            self.ended = True
        self._process.join(2 * _GRACE_SECONDS)
        if not wait([self._process.sentinel], 0):
            self._process.terminate()
            self._process.join(2 * _GRACE_SECONDS)
        with self._sending:
            self._requests.close()
        self._replies.close()
        self._finalizer.cancel()
        error = RuntimeError(
            f"the process in which the stream ran has died (exit code {self._process.exitcode}): it was killed, perhaps because "
            "memory ran out, or crashed."
        )
        for chunks in list(self._visits.values()):
            chunks.put((deque(), dumps(error)))


# -- in the process -----------------------------------------------------------------------------------------------------------


def serve(requests: Any, replies: Any) -> None:
    """Make the items that are asked for, until told to stop or the parent is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # an interrupt is the parent's, which closes what it has opened
    pickled = requests.recv_bytes()
    todo: SimpleQueue = SimpleQueue()
    closed: set[int] = set()
    threading.Thread(target=_receive, args=(requests, todo, closed), daemon=True).start()
    streams: Any = None
    failure: BaseException | None = None
    try:
        streams = pickle.loads(pickled)
    except Exception as error:
        error.add_note("the stream could not be rebuilt in another process: can its module be imported there?")
        failure = error
    del pickled
    running: dict[int, Iterator] = {}
    try:
        while (message := todo.get())[0] != "stop":
            kind, number, *rest = message
            if kind == "open":
                running[number] = _visit(streams, failure, *rest)
            elif kind == "more" and number in running and number not in closed:
                items, end = _chunk(running[number], rest[0], number, closed)
                if end is not None:
                    del running[number]
                replies.send_bytes(pickle.dumps((number, items, end)))
            elif kind == "close":
                _close(running.pop(number, None))
                closed.discard(number)
    except OSError:  # the parent is gone
        pass
    finally:
        for iterator in running.values():
            _close(iterator)


def _close(iterator: Any) -> None:
    try:
        close(iterator)
    except Exception:  # nobody waits for it any more, and others are to be served
        traceback.print_exc()


def _receive(requests: Any, todo: SimpleQueue, closed: set[int]) -> None:
    """Take requests as they come: the parent never waits for a generator."""
    message: tuple = ()
    while message != ("stop",):
        try:
            message = pickle.loads(requests.recv_bytes())
        except (EOFError, OSError):
            message = ("stop",)
        if message[0] == "close":
            closed.add(message[1])
        todo.put(message)
    time.sleep(_GRACE_SECONDS)
    os._exit(1)  # a generator that does not come to an end must not outlive what reads it


def _visit(streams: Any, failure: BaseException | None, position: int, seed: int | None, visit: tuple) -> Iterator:
    if failure is not None:
        raise failure
    yield from streams[position]._start(seed, visit)


def _chunk(iterator: Iterator, n: int, number: int, closed: set[int]) -> tuple[list[bytes], bytes | None]:
    """Return at most ``n`` pickled items and None, or the last ones and why they are: b"" at the end, a pickled error."""
    items: list[bytes] = []
    size, began = 0, time.monotonic()
    try:
        for item in itertools.islice(iterator, n):
            try:  # at once: the generator may use the arrays again
                items.append(dumps(item, protocol=5))
            except Exception as error:
                raise TypeError(
                    f"an item of type {type(item).__name__} cannot be sent to another process: {error}."
                ) from error
            size += len(items[-1])
            if size >= _CHUNK_BYTES or time.monotonic() - began > _CHUNK_SECONDS or number in closed:
                return items, None
    except BaseException as error:
        return items, _dumped(error)
    return items, None if len(items) == n else b""


def _dumped(error: BaseException) -> bytes:
    told = "".join(traceback.format_exception(error))
    try:
        error.add_note(f"in the other process:\n{told}")
        dumped = dumps(error)
        pickle.loads(dumped)
        return dumped
    except Exception:
        return dumps(RuntimeError(f"{type(error).__name__}, which cannot be sent between processes:\n{told}"))

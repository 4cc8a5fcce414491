"""A webhook bot in several processes on one storage: whichever process a post reaches, no message goes uncounted.

python examples/webhook_bot.py                    # on an SQLite file
python examples/webhook_bot.py redis://localhost

4 processes took 30 posts each, 16 at a time
chat 0 counted 40 messages of 40
chat 1 counted 40 messages of 40
chat 2 counted 40 messages of 40
"""

import json
import multiprocessing
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing.connection import Connection

from satchel import Session
from satchel.blocking import Sessions, open_storage

PROCESSES, POSTS, CHATS = 4, 120, 3


def serve(url: str, parent: Connection) -> None:
    """Be one of the processes: answer posts of Telegram, each in a thread, until the parent says that it is over."""
    with open_storage(url) as storage:
        sessions: Sessions[dict[str, int]] = Sessions(storage, initial=lambda: {"messages": 0})

        def count(session: Session[dict[str, int]]) -> None:
            session.data["messages"] += 1

        class Webhook(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                update = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                sessions.update(update, count)  # again and again until no other process came in between
                self.send_response(200)  # only now: what was not counted, Telegram sends again
                self.end_headers()

            def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
                pass  # 120 lines would say no more

        with ThreadingHTTPServer(("127.0.0.1", 0), Webhook) as server:
            threading.Thread(target=server.serve_forever).start()
            parent.send(server.server_port)
            with suppress(EOFError):  # the parent is gone
                parent.recv()
            server.shutdown()


def post(port: int, chat: int) -> None:
    """Be Telegram, and the load balancer."""
    update = {"message": {"text": "hi", "chat": {"id": chat}, "from": {"id": 7}}}
    with closing(HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
        connection.request("POST", "/", json.dumps(update))
        if (status := connection.getresponse().status) != 200:
            raise RuntimeError(f"a process answered {status}")


def main() -> None:
    url = sys.argv[1] if len(sys.argv) > 1 else "sqlite:///webhook.db"
    chats = [f"chat:{number}" for number in range(CHATS)]
    with open_storage(url) as storage:
        storage.delete_many(chats)

        spawn = multiprocessing.get_context("spawn")
        pipes = []
        for _ in range(PROCESSES):
            ours, theirs = spawn.Pipe()
            spawn.Process(target=serve, args=(url, theirs), daemon=True).start()
            theirs.close()
            pipes.append(ours)
        ports = [pipe.recv() for pipe in pipes]
        with ThreadPoolExecutor(16) as pool:
            posts = [pool.submit(post, ports[number % PROCESSES], number % CHATS) for number in range(POSTS)]
        for pipe in pipes:
            pipe.send("it is over")
        for process in multiprocessing.active_children():
            process.join()
        for one in posts:
            one.result()  # raises what a post raised

        print(f"{PROCESSES} processes took {POSTS // PROCESSES} posts each, 16 at a time")
        for number, key in enumerate(chats):
            data = storage.read(key) or {}
            print(f"chat {number} counted {data['messages']} messages of {POSTS // CHATS}")


if __name__ == "__main__":
    main()

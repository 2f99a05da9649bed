import type { ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';

interface Line {
  /** Resolves when the last answer that is due has left, or never will. */
  last: Promise<void>;
  count: number;
  /** Requests whose answers have not left. */
  due: number;
}

/**
 * The requests of one connection, one after the other: each is begun when the answer before it has left. So a client
 * that sends many at once holds as much as one that waits for each answer. It also is what keeps track of them: Node
 * never tells an answer whose turn did not come that its socket is gone.
 */
export class Turns {
  readonly #lines = new WeakMap<Duplex, Line>();

  /** How many requests the connection has brought, this one included. `begin` never rejects. */
  take(socket: Duplex, response: ServerResponse, begin: () => Promise<void>): number {
    const line = this.#lines.get(socket) ?? { last: Promise.resolve(), count: 0, due: 0 };
    this.#lines.set(socket, line);
    line.count += 1;
    line.due += 1;
    const turn =
      line.count === 1 ? answered(response, begin) : afterwards(line.last, socket, response, begin);
    line.last = takenOff(line, turn);
    return line.count;
  }

  /** How many answers are due on the connection. */
  due(socket: Duplex): number {
    return this.#lines.get(socket)?.due ?? 0;
  }

  /** Resolves when every answer that is due on the connection has left. */
  async over(socket: Duplex): Promise<void> {
    await this.#lines.get(socket)?.last;
  }
}

async function takenOff(line: Line, turn: Promise<void>): Promise<void> {
  await turn;
  line.due -= 1;
}

async function afterwards(
  before: Promise<void>,
  socket: Duplex,
  response: ServerResponse,
  begin: () => Promise<void>,
): Promise<void> {
  await before;
  // The answer before was the last, or the client has gone.
  if (socket.writable) await answered(response, begin);
}

async function answered(response: ServerResponse, begin: () => Promise<void>): Promise<void> {
  const left = new Promise<void>((resolve) => {
    response.once('close', resolve);
  });
  await begin();
  await left;
}

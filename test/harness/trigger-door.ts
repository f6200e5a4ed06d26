import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { TriggerError } from '../../src/trigger/trigger-error.ts';
import type { Triggers } from '../../src/trigger/triggers.ts';

export interface TriggerDoor extends AsyncDisposable {
  /** What webhooks are installed below. */
  readonly origin: string;
}

const statuses: Readonly<Record<string, number>> = { unknown: 404, forbidden: 403, 'wrong-type': 415 };

/** What the webhook endpoint does, without its limits: a delivery over HTTP becomes one of the triggers'. */
export async function openTriggerDoor(triggers: () => Triggers): Promise<TriggerDoor> {
  const server = createServer(async (request, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk);
    const headers = Object.fromEntries(
      Object.entries(request.headers).map(([name, value]) => [name, String(value)]),
    );
    const [, basic] = /^Basic (.+)$/.exec(headers.authorization ?? '') ?? [];
    const token =
      basic === undefined
        ? undefined
        : Buffer.from(basic, 'base64')
            .toString()
            .replace(/^[^:]*:/, '');
    const [, id = ''] = /^\/webhooks\/push\/trigger\/([^/]+)$/.exec(request.url ?? '') ?? [];
    try {
      const { note } = await triggers().deliver(id, { headers, body: Buffer.concat(chunks) }, token);
      response.end(note);
    } catch (thrown) {
      const code = thrown instanceof TriggerError ? thrown.code : '';
      response.writeHead(code === '' ? 500 : (statuses[code] ?? 400)).end(String(thrown));
    }
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    origin: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    async [Symbol.asyncDispose]() {
      server.close();
      server.closeAllConnections();
      await once(server, 'close');
    },
  };
}

import { createServer } from 'node:net';

/** A port nobody listens on now, or `port` if it is one; rejects with Node's error otherwise. Another process may take it before we do; listening then fails and says so. */
export async function freePort(host: string, port = 0): Promise<number> {
  const probe = createServer();
  return await new Promise((resolve, reject) => {
    probe.once('error', reject);
    probe.listen(port, host, () => {
      const address = probe.address();
      probe.close(() =>
        typeof address === 'object' && address !== null
          ? resolve(address.port)
          : reject(new Error('no port')),
      );
    });
  });
}

import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer, type RequestListener, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Clock } from '../../base/clock.ts';
import { EgressGuard } from '../../egress/egress-guard.ts';
import { EgressPolicy } from '../../egress/egress-policy.ts';
import { type FetchPackageOptions, fetchPackage } from './fetch-package.ts';

/** Time that passes only while somebody sleeps, at once. */
class LeapingClock implements Clock {
  slept: number[] = [];
  #now = 0;
  now(): number {
    return this.#now;
  }
  async sleep(milliseconds: number, signal?: AbortSignal): Promise<void> {
    signal?.throwIfAborted();
    this.slept.push(milliseconds);
    this.#now += milliseconds;
  }
}

let folder: string;
let clock: LeapingClock;
const servers: Server[] = [];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'slipway-fetch-'));
  clock = new LeapingClock();
});

afterEach(async () => {
  rmSync(folder, { recursive: true });
  for (const server of servers.splice(0)) {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  }
});

async function serve(listener: RequestListener): Promise<string> {
  const server = createServer(listener);
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/package?sig=hunter2`;
}

const guard = new EgressGuard(new EgressPolicy({ allowCidrs: ['127.0.0.0/8'] }));

function fetchFrom(url: string, options: Partial<FetchPackageOptions> = {}) {
  return fetchPackage({ url, origin: 'own', guard, file: join(folder, 'package'), clock, ...options });
}

const content = Buffer.from(Array.from({ length: 200_000 }, (_, i) => i % 251));
const stored = () => readFileSync(join(folder, 'package'));

describe('fetchPackage', () => {
  it('stores the bytes and tells the content type', async () => {
    const url = await serve((_request, response) =>
      response.writeHead(200, { 'content-type': 'application/zip' }).end(content),
    );
    expect(await fetchFrom(url)).toEqual({ contentType: 'application/zip', bytes: content.length });
    expect(stored().equals(content)).toBe(true);
  });

  it('waits for a server that is being restarted', async () => {
    const answers = [503, 502, 'reset', 200];
    const url = await serve((request, response) => {
      const answer = answers.shift();
      if (answer === 'reset') request.socket.destroy();
      else response.writeHead(Number(answer)).end(content);
    });
    const reasons: string[] = [];
    expect((await fetchFrom(url, { onRetry: (reason) => reasons.push(reason) })).bytes).toBe(content.length);
    expect(reasons).toHaveLength(3);
    expect(reasons.join()).not.toContain('hunter2');
  });

  it('goes on where the bytes ended when it is still the same file', async () => {
    const large = Buffer.alloc(5_000_000, content);
    const ranges: (string | undefined)[] = [];
    const url = await serve((request, response) => {
      ranges.push(request.headers.range);
      const start = Number(/bytes=(\d+)-/.exec(request.headers.range ?? '')?.[1] ?? 0);
      const rest = large.subarray(start);
      if (start > 0)
        response
          .writeHead(206, {
            etag: '"v1"',
            'content-range': `bytes ${start}-${large.length - 1}/${large.length}`,
            'content-length': rest.length,
          })
          .end(rest);
      else
        response
          .writeHead(200, { etag: '"v1"', 'content-length': rest.length })
          .write(rest.subarray(0, 4_000_000), () => setImmediate(() => response.destroy()));
    });
    expect((await fetchFrom(url)).bytes).toBe(large.length);
    expect(stored().equals(large)).toBe(true);
    expect(ranges[0]).toBeUndefined();
    expect(ranges[1]).toMatch(/^bytes=\d+-$/);
  });

  it('begins anew when the file has changed or the server cannot go on', async () => {
    let requests = 0;
    const url = await serve((_request, response) => {
      if (requests++ === 0)
        response
          .writeHead(200, { etag: '"v1"', 'content-length': 300_000 })
          .write(Buffer.alloc(250_000, 1), () => setImmediate(() => response.destroy()));
      else response.writeHead(200, { etag: '"v2"' }).end(content);
    });
    expect((await fetchFrom(url)).bytes).toBe(content.length);
    expect(stored().equals(content)).toBe(true);
  });

  it('gives up after its patience, and at once when waiting is no use', async () => {
    let requests = 0;
    const away = await serve((_request, response) => {
      requests++;
      response.writeHead(503).end();
    });
    await expect(fetchFrom(away)).rejects.toMatchObject({
      name: 'SourceError',
      code: 'packagefetch',
      owner: 'infrastructure',
    });
    expect(clock.now()).toBeGreaterThan(50_000);
    expect(clock.now()).toBeLessThanOrEqual(60_000);
    await expect(fetchFrom(away, { origin: 'user', patience: 0 })).rejects.toMatchObject({
      code: 'archivefetch',
      owner: 'user',
    });
    requests = 0;
    const gone = await serve((_request, response) => {
      requests++;
      response.writeHead(404).end();
    });
    await expect(fetchFrom(gone, { origin: 'user' })).rejects.toMatchObject({
      code: 'archivefetch',
      message: expect.stringContaining('404'),
    });
    expect(requests).toBe(1);
  });

  it('refuses too many bytes, and an address that is not allowed', async () => {
    const url = await serve((_request, response) => response.end(content));
    await expect(fetchFrom(url, { maxBytes: 1000 })).rejects.toMatchObject({ code: 'sourcetoolarge' });
    const strict = new EgressGuard(new EgressPolicy());
    await expect(fetchFrom(url, { guard: strict, origin: 'user' })).rejects.toMatchObject({
      code: 'archivefetch',
      message: expect.stringContaining('loopback'),
    });
  });

  it('stops when the build is cancelled', async () => {
    const abort = new AbortController();
    const url = await serve((_request, response) => response.write(content, () => abort.abort()));
    await expect(fetchFrom(url, { signal: abort.signal })).rejects.toMatchObject({
      code: 'cancelled',
      owner: undefined,
    });
    await expect(fetchFrom('http://127.0.0.1:1/', { signal: abort.signal })).rejects.toMatchObject({
      code: 'cancelled',
    });
  });
});

import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startWholeServer, type WholeServer } from '../harness/whole-server.ts';

let server: WholeServer;
beforeAll(async () => {
  server = await startWholeServer();
});
afterAll(async () => await server[Symbol.asyncDispose]());

/** Asked anew until the answer is such; one answer is kept for a second. */
async function until(path: string, status: number): Promise<Record<string, unknown>> {
  for (;;) {
    const response = await fetch(new URL(path, server.url));
    const json = (await response.json()) as Record<string, unknown>;
    if (response.status === status) return json;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

test('a whole server is healthy, in the form that monitoring of the field reads', async () => {
  expect(await until('/health/instance', 200)).toEqual({
    data: { services: { database: true, registry: true, disk_space: true, storage: true } },
    status_code: 200,
  });
  expect(await until('/health/endtoend', 200)).toEqual({
    data: {
      services: {
        auth: true,
        database: true,
        executors: true,
        queue: true,
        redis: true,
        registry: true,
        storage: true,
      },
    },
    status_code: 200,
  });
});

test('storage that cannot be written makes both unhealthy until it can', async () => {
  const blobs = join(server.folder, 'blobs');
  await rm(blobs, { recursive: true });
  await writeFile(blobs, 'no folder any more');
  expect(await until('/health/instance', 503)).toMatchObject({
    data: { services: { storage: false, database: true, registry: true } },
    status_code: 503,
  });
  expect(await until('/health/endtoend', 503)).toMatchObject({ data: { services: { storage: false } } });
  await rm(blobs);
  await server.blobs.start();
  expect(await until('/health/instance', 200)).toMatchObject({ data: { services: { storage: true } } });
});

test('a registry that is gone is noticed within the time a probe has', async () => {
  await server.registry.embedded.stop();
  const asked = Date.now();
  expect(await until('/health/instance', 503)).toMatchObject({ data: { services: { registry: false } } });
  expect(Date.now() - asked).toBeLessThan(10_000);
  await server.registry.embedded.start();
  expect(await until('/health/instance', 200)).toMatchObject({ data: { services: { registry: true } } });
});
